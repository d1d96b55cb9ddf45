"""Looks: the student beside a baseline in one measure, and verdicts whose errors are bounded.

All looks of a report are one family. Holm's procedure bounds the chance that any *better* or
*worse* among them is wrong; the task's measure, named beforehand, has half of the weight. *Equal*
is a verdict of its own: the interval of the difference lies within a margin.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from asterism.measures import Estimate

Better = Literal["higher", "lower", "none"]
Verdict = Literal["better", "worse", "equal", "cannot tell"]

# The chance that any verdict of a family is wrong on equal models.
LEVEL = 0.05
# Share of it that belongs to the primary measure.
PRIMARY = 0.5


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


def adjusted(p_values: Sequence[float], weights: Sequence[float]) -> list[float]:
    r"""Return p-values that can be compared with the level of the whole family.

    Holm's procedure with weights: in the order of $p_i / w_i$ each is multiplied by the weights
    that are left, over its own.

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 1979.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i] / weights[i])
    left = sum(weights)
    found = [1.0] * len(p_values)
    least = 0.0
    for i in order:
        least = max(least, min(1.0, p_values[i] * left / weights[i]))
        found[i] = least
        left -= weights[i]
    return found


def verdicts(looks: Sequence[Look]) -> list[Verdict]:
    """Return what each look shows, so that all hold together."""
    primaries = sum(look.primary for look in looks)
    others = len(looks) - primaries
    weights = [
        (PRIMARY / primaries if others else 1.0 / primaries)
        if look.primary
        else ((1 - PRIMARY) / others if primaries else 1.0 / others)
        for look in looks
    ]
    p_values = adjusted([look.gap.p_value() for look in looks], weights)
    return [_verdict(look, p) for look, p in zip(looks, p_values, strict=True)]


def _verdict(look: Look, p_value: float) -> Verdict:
    low, high = look.gap.interval()
    if look.margin is not None and -look.margin < low and high < look.margin:
        return "equal"
    if p_value > LEVEL:
        return "cannot tell"
    return "better" if (look.gap > 0) == (look.better == "higher") else "worse"
