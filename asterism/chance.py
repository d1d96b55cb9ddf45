"""What chance alone brings: many looks at once, and trainings with several seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# The chance that any verdict of a family is wrong on equal models.
LEVEL = 0.05
# Half of the width of a 95 % interval over samples, in standard errors.
REACH = 1.96


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


def weights_of(primary: Sequence[bool]) -> list[float]:
    """Return weights of which the measures named beforehand have half, the others the rest."""
    first = sum(primary)
    others = len(primary) - first
    if not first or not others:
        return [1.0] * len(primary)
    return [0.5 / first if one else 0.5 / others for one in primary]


@dataclass(frozen=True)
class OverSeeds:
    """A difference over several trainings of each side.

    Attributes:
        value: Its mean.
        low: Lower end of the 95 % interval over seeds and samples.
        high: Upper end.
        p_value: How often chance alone would bring it as far from 0.
    """

    value: float
    low: float
    high: float
    p_value: float


def over_seeds(gaps: Sequence[float], ends: Sequence[tuple[float, float] | None]) -> OverSeeds:
    r"""Return the mean of paired differences with an interval over seeds and samples.

    $$s^2 = \frac{s_\mathrm{seeds}^2}{S} + \frac{1}{S} \sum_i s_i^2$$

    with the variance over the $S$ differences and the squared errors $s_i$ of each over samples:
    all are measured on the same rows, so that these do not average out. Student's quantile, with
    Satterthwaite's degrees of freedom, $(S - 1) (s^2 / (s_\mathrm{seeds}^2 / S))^2$.

    Args:
        gaps: The differences, one for each seed. A single one says nothing of other seeds: its
            interval is over samples alone, and must be there.
        ends: Their 95 % intervals over samples; None where there is none.

    References:
        Satterthwaite, An Approximate Distribution of Estimates of Variance Components, 1946.
    """
    from scipy.special import stdtr, stdtrit  # here: it takes as long to import as all else

    seeds = statistics.variance(gaps) / len(gaps) if len(gaps) > 1 else 0.0
    widths = [(high - low) / (2 * REACH) for low, high in (x for x in ends if x is not None)]
    samples = statistics.fmean(width**2 for width in widths) if widths else 0.0
    value, error = statistics.fmean(gaps), math.sqrt(seeds + samples)
    if error == 0:
        return OverSeeds(value, value, value, float(value == 0))
    freedom = (len(gaps) - 1) * (error**2 / seeds) ** 2 if seeds else 1e6
    reach = float(stdtrit(min(freedom, 1e6), 1 - LEVEL / 2)) * error
    p_value = 2 * float(stdtr(min(freedom, 1e6), -abs(value) / error))
    return OverSeeds(value, value - reach, value + reach, p_value)
