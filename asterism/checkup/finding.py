"""What a check finds, and what it looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn

from asterism.data import Data
from asterism.engine import Settings
from asterism.methods.base import Method

Severity = Literal["ok", "look", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        subject: What was looked at.
        severity: `ok`; `look`, which may be meant; or `wrong`, which can hardly be.
        found: What there is, in figures.
        advice: What to do about it; empty if nothing.
        figures: The figures by name.
        stops: Whether no training can work with it.
    """

    subject: str
    severity: Severity
    found: str
    advice: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    stops: bool = False


@dataclass(frozen=True)
class Case:
    """A training that is about to begin.

    Attributes:
        data: The data.
        student: The student, untrained or from an earlier run.
        teacher: The teacher, or None.
        methods: The methods, set up.
        settings: How to train.
        use_labels: Whether labels are part of the objective.
        out: The run folder, if it is known.
        teacher_cache: Folder of the teacher's outputs, if one is named.
    """

    data: Data
    student: nn.Module
    teacher: nn.Module | None
    methods: Sequence[Method]
    settings: Settings
    use_labels: bool
    out: Path | None = None
    teacher_cache: Path | None = None

    @property
    def models(self) -> dict[str, nn.Module]:
        """Return the networks by name, student first."""
        return {"student": self.student} | ({"teacher": self.teacher} if self.teacher else {})


def count(number: float) -> str:
    """Return a count or a size with three digits and thousands apart."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def share(part: float) -> str:
    """Return a share in per cent."""
    return f"{100 * part:.1f} %"


def megabytes(size: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    mb = size / 2**20
    return f"{mb / 1024:.1f} GB" if mb >= 1024 else f"{mb:.1f} MB"
