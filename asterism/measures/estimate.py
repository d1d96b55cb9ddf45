"""Estimates: figures with intervals, by bootstrap or jackknife over samples."""

import math
from collections.abc import Callable
from functools import cached_property, lru_cache

import torch
from torch import Tensor

# Resamples of the bootstrap, for means over samples.
RESAMPLES = 1_000
# Groups of samples that the jackknife leaves out in turn, for all other measures.
GROUPS = 20
CONFIDENCE = 0.95
SEED = 0


class Estimate(float):
    """A number, measured on samples, with what it would have been on others like them.

    The replicates are drawn when they are first asked for. Two estimates from the same samples
    have replicates from the same resamples, so that their difference is paired.

    Attributes:
        scores: If the number is the mean of a score per sample: the scores, shape `(n,)`, NaN for
            samples that do not count. Otherwise empty.
        jackknife: Whether each replicate leaves out one group of samples and keeps the rest.
    """

    scores: Tensor
    jackknife: bool
    _draw: Callable[[], Tensor]

    def __new__(
        cls,
        value: float,
        draw: Callable[[], Tensor],
        *,
        jackknife: bool = False,
        scores: Tensor | None = None,
    ) -> "Estimate":
        """Make a number with its replicates.

        Args:
            value: The number.
            draw: Returns the replicates, shape `(r,)`.
            jackknife: Whether each replicate leaves out one group of samples and keeps the rest
                as they are, instead of being one bootstrap resample.
            scores: Score of each sample, if the number is their mean.
        """
        made = super().__new__(cls, value)
        made._draw = draw
        made.jackknife = jackknife
        made.scores = torch.empty(0) if scores is None else scores
        return made

    def __deepcopy__(self, memo: object) -> "Estimate":
        return self

    @cached_property
    def replicates(self) -> Tensor:
        """Return the number on each of the resamples."""
        return self._draw().double()

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the ends of the confidence interval.

        Of bootstrap replicates these are percentiles. Measures that are no means of scores may grow
        when samples repeat (the calibration error does); their replicates are moved so that their
        mean lies on the value. Of jackknife replicates the ends come from the standard error and
        Student's distribution. What is negative in no replicate is not negative at either end.
        """
        from scipy.special import stdtrit  # here: it takes as long to import as all of asterism

        x = self.replicates
        tail = (1 - confidence) / 2
        groups = len(x)
        if self.jackknife:
            error = math.sqrt((groups - 1) / groups * float((x - x.mean()).square().sum()))
            reach = float(stdtrit(groups - 1, 1 - tail)) * error if groups > 1 else math.inf
            low, high = self - reach, self + reach
        else:
            moved = x if len(self.scores) else x - x.mean() + self
            ends = torch.tensor([tail, 1 - tail], dtype=x.dtype)
            low, high = torch.quantile(moved, ends).tolist()
        return (max(low, 0.0) if (x >= 0).all() and self >= 0 else low), high

    def minus(self, other: "Estimate") -> "Estimate":
        """Return the paired difference to an estimate of the same kind from the same samples."""
        return Estimate(
            self - other,
            lambda: self.replicates - other.replicates,
            jackknife=self.jackknife,
            scores=self.scores - other.scores,
        )


def mean_of(scores: Tensor) -> Estimate | None:
    """Return the mean of one score per sample; NaN marks samples that do not count.

    The replicates are means over samples drawn with replacement.

    Args:
        scores: Shape `(n,)`.

    Returns:
        The mean, or None without a sample that counts.
    """
    counted = ~scores.isnan()
    if not counted.any():
        return None
    filled = torch.where(counted, scores, 0).double()
    weight = counted.double()

    def draw() -> Tensor:
        return resampled_sum(filled) / resampled_sum(weight).clamp_min(1)

    return Estimate(float(filled.sum() / weight.sum()), draw, scores=scores)


@lru_cache(maxsize=4)
def resamples(n: int) -> Tensor:
    """Return how often each of `n` samples is in each resample, uint8 of shape `(r, n)`."""
    generator = torch.Generator().manual_seed(SEED)
    counts = torch.empty(RESAMPLES, n, dtype=torch.uint8)
    for row in counts:
        row[:] = torch.bincount(torch.randint(n, (n,), generator=generator), minlength=n)
    return counts


def resampled_sum(scores: Tensor) -> Tensor:
    """Return the sum of scores `(n,)` or `(n, m)` over each resample, `(r,)` or `(r, m)`."""
    chunks = torch.split(resamples(len(scores)), 50)
    return torch.cat([counts.to(scores.dtype) @ scores for counts in chunks])


def groups_of(n: int) -> Tensor:
    """Return the jackknife group of each sample, drawn by seed, in equal parts."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SEED))
    return order % min(GROUPS, n)
