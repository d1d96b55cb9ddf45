"""The provenance of a run: versions, machine, fingerprints; what may not change on resumption."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from asterism import methods
from asterism.data import Data
from asterism.options import DECISIVE, Plain, Role, Verb, differing, names_with
from asterism.request import Request, plain_defaults, typed_name
from asterism.run import Run, RunError
from asterism.settings import Settings
from asterism.teachers import Teacher


def provenance(data: Data, teacher: Teacher | None) -> dict[str, Any]:
    """Return what a reader needs to trust or repeat the run, as plain values."""
    return {
        "asterism": version("asterism"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "code": _code(),
        "data": data.source.fingerprint(),
        "validation_data": data.validation_source.fingerprint() if data.validation_source else None,
        "test_data": data.test.fingerprint() if data.test else None,
        "teacher": None if teacher is None else teacher.fingerprint(),
    }


def _with_defaults(described: Any) -> Any:
    """Return methods as a run keeps them, with the defaults of options that are newer than it."""
    if not isinstance(described, list):
        return described
    complete = []
    for each in described:
        name = str(each["class_path"]).removeprefix("asterism.")
        known = getattr(methods, name)().config() if name in methods.__all__ else {}
        complete.append({**each, "init_args": {**known, **(each.get("init_args") or {})}})
    return complete


def _processor() -> str:
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _code() -> str:
    folder = Path(__file__).parents[1]
    files = sorted(folder.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def refuse_changes(run: Run, config: Mapping[str, Plain], provenance: Mapping[str, Any]) -> None:
    """Raise a RunError if the run in the folder was begun with other settings, data or teacher."""
    if not run.begun():
        return
    verb: Verb = "train" if "model" in config else "distill"
    # A run that is older than an option had what is the default now.
    before = {**plain_defaults(verb), **run.read_config()}
    before["method"] = _with_defaults(before.get("method"))
    decisive = frozenset(typed_name(n, verb) for n in names_with(Request, Settings, roles=DECISIVE))
    for name in differing(before, config, decisive):
        raise RunError(
            f"{run.path} was begun with {name} {before[name]!r}; resuming with "
            f"{config[name]!r} would be another experiment: use the same, or a new folder."
        )
    known = before.get("provenance") or {}
    for name in names_with(Request, roles=frozenset({Role.CONTENT})):
        if name in known and known[name] != provenance[name]:
            raise RunError(
                f"{run.path} was begun with other contents of its {name.replace('_', ' ')} "
                f"(fingerprint {known[name]}, now {provenance[name]}): resuming would be another "
                "experiment."
            )
