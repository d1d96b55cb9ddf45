"""Looks: the student beside a baseline in one measure, and verdicts whose errors are bounded.

All looks of a report are one family. Holm's procedure bounds the chance that any *better* or
*worse* among them is wrong; the task's measure, named beforehand, has half of the weight. *Equal*
is a verdict of its own: the interval of the difference lies within a margin.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from asterism.chance import LEVEL, adjusted, weights_of
from asterism.measures import Estimate

Better = Literal["higher", "lower", "none"]
Verdict = Literal["better", "worse", "equal", "cannot tell"]


@dataclass(frozen=True)
class Look:
    """The student beside a baseline in one measure.

    Attributes:
        gap: Student minus baseline, paired.
        better: Which way is better.
        margin: A gap that nobody would care about; None where a measure has none.
        primary: Whether the measure is the one that was named beforehand.
    """

    gap: Estimate
    better: Better
    margin: float | None
    primary: bool = False

    @property
    def rows_to_tell(self) -> int | None:
        """Return at how many rows the interval would be within the margin of the gap."""
        low, high = self.gap.interval()
        half = (high - low) / 2
        if not self.margin or not math.isfinite(half):
            return None
        return math.ceil(self.gap.count * max(1.0, (half / self.margin) ** 2))


def verdicts(looks: Sequence[Look]) -> list[Verdict]:
    """Return what each look shows, so that all hold together."""
    weights = weights_of([look.primary for look in looks])
    p_values = adjusted([look.gap.p_value() for look in looks], weights)
    return [_verdict(look, p) for look, p in zip(looks, p_values, strict=True)]


def _verdict(look: Look, p_value: float) -> Verdict:
    low, high = look.gap.interval()
    if look.margin is not None and -look.margin < low and high < look.margin:
        return "equal"
    if p_value > LEVEL:
        return "cannot tell"
    return "better" if (look.gap > 0) == (look.better == "higher") else "worse"
