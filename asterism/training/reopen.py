"""A finished run opened again: its data, its student and its teacher."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from asterism.data import Data, open_data
from asterism.names import is_own_code
from asterism.run import Run, RunError
from asterism.student import Student, load
from asterism.teachers import Teacher, open_teacher

if TYPE_CHECKING:
    from asterism.request import Model


class Reopened(NamedTuple):
    """What a run was made of.

    Attributes:
        data: Its data.
        student: Its student.
        teacher: Its teacher; None if it had none, or one of the user's own code that was not named
            again: nothing named in a run folder is imported.
    """

    data: Data
    student: Student
    teacher: Teacher | None


def reopen(
    run: str | Path,
    *,
    data: Any = None,
    factory: str | Callable[..., nn.Module] | None = None,
    teacher: "Model | None" = None,
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
    config = folder.read_config()
    student = load(run, factory=factory)
    opened = reopen_data(folder, data)
    if teacher is not None:
        return Reopened(opened, student, open_teacher(teacher, opened))
    named = config.get("teacher") or ""
    if not named or is_own_code(named):
        return Reopened(opened, student, None)
    try:
        return Reopened(opened, student, open_teacher(named, opened))
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"the teacher of {folder.path} cannot be opened again; if it has moved, name it "
            f"(evaluate --teacher, align --to): {error}"
        ) from error


def reopen_data(folder: Run, data: Any = None) -> Data:
    """Open a run's data again.

    Args:
        folder: The run folder.
        data: Other test data, as `distill` takes them; by default the run's own.

    Raises:
        FileNotFoundError: If there is no such run, or its data are not where they were.
        ValueError: If its data cannot be opened any more.
    """
    config = folder.read_config()
    needed = "data validation_data test_data validation_share split_seed image_size".split()
    if missing := [key for key in needed if key not in config]:
        raise RunError(f"{folder.path / 'config.yaml'} is damaged: it lacks {missing[0]}.")
    config["test_data"] = config["test_data"] if data is None else data
    for key in ("data", "validation_data", "test_data"):
        if str(config[key]).startswith("python:"):
            raise ValueError(
                f"{folder.path} was trained with {key} {config[key]!r}, an object that no run "
                "folder can hold: measure asterism.load(run) where the object is."
            )
    opened = open_data(
        config["data"],
        validation=config["validation_data"],
        test=config["test_data"],
        validation_share=config["validation_share"],
        validation_classes=config.get("validation_classes"),  # older runs have none
        split_seed=config["split_seed"],
        image_size=config["image_size"],
    )
    opened.refuse_useless(use_labels=False, broken=False)
    return opened
