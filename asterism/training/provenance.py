"""The provenance of a run: versions, machine, fingerprints; what may not change on resumption."""

import hashlib
import platform
import secrets
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from asterism import methods
from asterism.data import Data
from asterism.distributed import from_first
from asterism.measures import machine_of
from asterism.names import resolved
from asterism.options import DECISIVE, Plain, Role, Verb, differing, names_with
from asterism.request import Request, typed_name, understood
from asterism.run import Run, RunError
from asterism.settings import Settings
from asterism.teachers import Teacher

# What a run keeps fingerprints of: the same name may come to have other contents.
CONTENTS = tuple(sorted(names_with(Request, roles=frozenset({Role.CONTENT}))))
# What names a place that may be typed in several ways.
PLACES = (*CONTENTS, "student", "model")


def provenance(
    data: Data,
    teacher: Teacher | None,
    config: Mapping[str, Plain],
    *,
    processes: int,
    training: str | None = None,
) -> dict[str, Any]:
    """Return what a reader needs to trust or repeat the run, as plain values.

    Args:
        data: The data.
        teacher: The teacher, if there is one.
        config: The request, as the run keeps it.
        processes: How many train together, however they were started.
        training: The mark by which the training knows its checkpoints.
    """
    return {
        "training": training,
        "asterism": version("asterism"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "processes": processes,
        "device": machine_of(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "code": _code(),
        **fingerprints(data, teacher),
        # Beside the names as they were typed: the run can be measured from another folder.
        "paths": {
            name: resolved(str(config[name]), several=name == "teacher")
            for name in PLACES
            if config.get(name)
        },
    }


def fingerprints(data: Data, teacher: Teacher | None) -> dict[str, str | None]:
    """Return the fingerprints of all that a training reads, by the name of its option."""
    return {
        "data": data.source.fingerprint(),
        "validation_data": data.validation_source.fingerprint() if data.validation_source else None,
        "test_data": data.test.fingerprint() if data.test else None,
        "teacher": None if teacher is None else teacher.fingerprint(),
    }


def mark_of(run: Run, *, resume: bool) -> str | None:
    """Return the mark of a training that begins or goes on in a folder, the same on all ranks.

    One that goes on keeps its own, which a run older than marks has none of.
    """
    goes_on = resume and run.begun()
    return from_first(run.training() if goes_on else secrets.token_hex(8))  # type: ignore[no-any-return]


def recorded(run: Run) -> dict[str, Any]:
    """Return the provenance that a run folder holds; of a run older than it nothing.

    Raises:
        RunError: If it is damaged.
    """
    known = run.read_config().get("provenance") or {}
    if not isinstance(known, dict) or not isinstance(known.get("paths") or {}, dict):
        raise RunError(f"{run.path / 'config.yaml'} is damaged: its provenance is no provenance.")
    return known


def refuse_other_contents(
    run: Run, found: Mapping[str, str | None], *, instead: Mapping[str, str] | None = None
) -> None:
    """Raise a RunError if what a run was made of has other contents now: every reader asks.

    Args:
        run: The run folder.
        found: The fingerprints now, by name; None for what is not there or not compared.
        instead: What to do where contents differ, by name.
    """
    known = recorded(run)
    for name in CONTENTS:
        before, now = known.get(name), found.get(name)
        if before is None or now is None or before == now:
            continue
        way_out = (instead or {}).get(name, "give it back its contents, or name another folder.")
        what = name.replace("_", " ")
        raise RunError(
            f"{run.path} was begun with other contents of its {what} (fingerprint {before}, now "
            f"{now}): {way_out}"
        )


def made_with(run: Run, verb: Verb) -> dict[str, Plain]:
    """Return the options of a run as plain values; nothing that its folder names is imported.

    Raises:
        RunError: If the folder is damaged.
    """
    try:
        made = understood(run.read_config(), verb)
    except RunError:
        raise
    except ValueError as error:
        raise RunError(f"{run.path / 'config.yaml'} is damaged: {error}.") from error
    return {**made, "method": _with_defaults(made["method"])} if "method" in made else made


def _with_defaults(described: Plain) -> Plain:
    """Return methods as a run keeps them, with the defaults of options that are newer than it."""
    if not isinstance(described, list):
        return described
    complete = []
    for each in described:
        name = str(each["class_path"]).removeprefix("asterism.")
        known = getattr(methods, name)().config() if name in methods.__all__ else {}
        complete.append({**each, "init_args": {**known, **(each.get("init_args") or {})}})
    return complete


def _code() -> str:
    folder = Path(__file__).parents[1]
    files = sorted(folder.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def refuse_changes(run: Run, config: Mapping[str, Plain], provenance: Mapping[str, Any]) -> None:
    """Raise a RunError if the run in the folder was begun with other settings, data or teacher."""
    if not run.begun():
        return
    verb: Verb = "train" if "model" in config else "distill"
    before, places = made_with(run, verb), recorded(run).get("paths") or {}
    decisive = frozenset(typed_name(n, verb) for n in names_with(Request, Settings, roles=DECISIVE))
    for name in differing(before, config, decisive):
        if name in places and places[name] == provenance["paths"].get(name):
            continue  # typed in another way, or in another folder
        raise RunError(
            f"{run.path} was begun with {name} {before[name]!r}; resuming with "
            f"{config[name]!r} would be another experiment: use the same, or a new folder."
        )
    count = recorded(run).get("processes", provenance["processes"])
    if count != provenance["processes"]:
        raise RunError(
            f"{run.path} was begun with {count} processes; resuming with "
            f"{provenance['processes']} would be another experiment: use as many, or a new folder."
        )
    other = "resuming would be another experiment."
    refuse_other_contents(run, provenance, instead=dict.fromkeys(CONTENTS, other))
