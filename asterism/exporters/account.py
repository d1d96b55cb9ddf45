"""What an export came to, for the program (`Exported`) and for its folder (`export.json`)."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asterism.exporters.exporter import Exporter
from asterism.exporters.folder import CARD
from asterism.exporters.int8 import Loss
from asterism.exporters.parity import Difference


@dataclass(frozen=True)
class Exported:
    """What one format came to; `export.json` in its folder holds the same.

    Attributes:
        format: Its name.
        folder: Where it is.
        student: The student's model.
        size: Its bytes, without card and account.
        tolerance: Largest difference that was allowed.
        differences: How far it is from the student, by trial.
        compared_on: Whose rows: those of the run's data, or made-up ones and why.
        notes: What it leaves out.
        int8: What 8 bits cost; None for floats.
    """

    format: str
    folder: Path
    student: str
    size: int
    tolerance: float
    differences: tuple[Difference, ...]
    compared_on: str
    notes: tuple[str, ...] = ()
    int8: Loss | None = None

    @property
    def largest_difference(self) -> float:
        """Return the largest difference on trials that the format can pass."""
        return max(each.largest for each in self.differences if each.limit is None)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def account_of(exporter: Exporter, exported: Exported) -> str:
    """Return what `export.json` holds; nothing in it tells of the machine.

    Its `files` are those of the format, without the card, with their SHA-256: what may be pushed.
    """
    content: dict[str, Any] = dataclasses.asdict(exported)
    del content["folder"]
    content["largest_difference"] = exported.largest_difference
    files = sorted(file for file in exported.folder.rglob("*") if file.is_file())
    content["files"] = {
        file.relative_to(exported.folder).as_posix(): digest_of(file)
        for file in files
        if file.name != CARD
    }
    names = ("asterism", "torch", *exporter.libraries)
    content["libraries"] = {name: version(name) for name in names}
    return json.dumps(content, indent=2) + "\n"
