"""`Finding`: what one check says, how bad it is, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    """

    subject: str
    severity: Severity
    found: str
    advice: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
