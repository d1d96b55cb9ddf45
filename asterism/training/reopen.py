"""A finished run opened again: its data, its student and its teacher."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from asterism.data import Data, open_data
from asterism.names import each_name, is_own_code, located, split_name
from asterism.options import Plain
from asterism.run import Run, RunError
from asterism.student import Student, load
from asterism.teachers import Teacher, open_teacher
from asterism.training.provenance import fingerprints, made_with, recorded, refuse_other_contents

if TYPE_CHECKING:
    from asterism.request import Models


class Reopened(NamedTuple):
    """What a run was made of.

    Attributes:
        data: Its data.
        student: Its student.
        teacher: Its teacher; None if it had none, or one of the user's own code that was not named
            again: nothing named in a run folder is imported.
        timed_batches: Batch sizes that it takes the time of, beside the usual ones.
    """

    data: Data
    student: Student
    teacher: Teacher | None
    timed_batches: tuple[int, ...]


def reopen(
    run: str | Path,
    *,
    data: Any = None,
    factory: str | Callable[..., nn.Module] | None = None,
    teacher: "Models | None" = None,
) -> Reopened:
    """Open a run's data and models again.

    Args:
        run: The run folder.
        data: Other test data, as `distill` takes them; by default the run's own.
        factory: For a student built by your own code, see `asterism.load`.
        teacher: The teacher, as `distill` takes it; by default the run's own, if it is none of
            your own code.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If its models or data cannot be opened any more.
    """
    folder = Run(run)
    config = _config(folder)
    student = load(run, factory=factory)
    opened = reopen_data(folder, data)
    timed: Any = config["timed_batches"]
    return Reopened(opened, student, _open_teacher(folder, config, opened, teacher), tuple(timed))


def reopen_data(folder: Run, data: Any = None) -> Data:
    """Open a run's data again.

    Args:
        folder: The run folder.
        data: Other test data, as `distill` takes them; by default the run's own.

    Raises:
        FileNotFoundError: If there is no such run, or its data are not where they were.
        ValueError: If its data cannot be opened any more, or have other contents now.
    """
    config: Mapping[str, Any] = _config(folder)
    test = config["test_data"] if data is None else data
    named = {
        "data": config["data"],
        "validation_data": config["validation_data"],
        "test_data": test,
    }
    for key, name in named.items():
        if str(name).startswith("python:"):
            raise ValueError(
                f"{folder.path} was trained with {key} {name!r}, an object that no run "
                "folder can hold: measure asterism.load(run) where the object is."
            )
    opened = open_data(
        config["data"],
        validation=config["validation_data"],
        test=located(test, stores=True) if isinstance(test, str | Path) else test,
        validation_share=config["validation_share"],
        validation_classes=config.get("validation_classes"),  # older runs have none
        split_seed=config["split_seed"],
        image_size=config["image_size"],
    )
    if data is None:
        instead = (
            "what is measured on these would not be what the run was selected and measured on. "
            f"Give it back its contents, or name what to measure on: `asterism evaluate "
            f"{folder.path} --data FILE`."
        )
        found = fingerprints(opened, None)
        refuse_other_contents(folder, found, instead=dict.fromkeys(found, instead))
    opened.refuse_useless(use_labels=False, broken=False)
    return opened


def _config(folder: Run) -> dict[str, Plain]:
    """Return the run's options, its paths as they are found from here."""
    kept = folder.read_config()
    if missing := [name for name in ("data", "split_seed", "image_size") if name not in kept]:
        raise RunError(f"{folder.path / 'config.yaml'} is damaged: it lacks {missing[0]}.")
    config = made_with(folder, "train" if "model" in kept else "distill")
    places = recorded(folder).get("paths") or {}
    return {name: _found(name, value, places.get(name)) for name, value in config.items()}


def _found(option: str, typed: Plain, resolved: Any) -> Plain:
    """Return where something is that was typed in another folder, or was elsewhere then."""
    if not isinstance(resolved, str):
        return typed
    # Of several teachers, those that are no files mean the same from any folder.
    names = each_name(resolved) if option == "teacher" else [resolved]
    places = [split_name(each)[0] for each in names]
    return resolved if any(os.path.exists(place) for place in places) else typed


def _open_teacher(
    folder: Run, config: Mapping[str, Any], opened: Data, named: "Models | None"
) -> Teacher | None:
    """Open the teacher of a run, by its own name or by the one that is given."""
    name = named if named is not None else config.get("teacher") or ""
    if named is None and (not name or is_own_code(str(name))):
        return None
    try:
        teacher = open_teacher(
            located(name, several=True, stores=True) if isinstance(name, str | Path) else name,
            opened,
        )
    except (FileNotFoundError, ValueError) as error:
        if named is not None:
            raise
        raise ValueError(
            f"the teacher of {folder.path} cannot be opened again; if it has moved, name it "
            f"(evaluate --teacher, align --to): {error}"
        ) from error
    refuse_other_contents(
        folder,
        {"teacher": teacher.fingerprint()},
        instead={"teacher": "name the one it learned from (evaluate --teacher, align --to)."},
    )
    return teacher
