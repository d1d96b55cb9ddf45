"""Estimates: figures that know what each row of the sample adds to them, and so their intervals."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from asterism.measures.gallery import Gallery

CONFIDENCE = 0.95
# The population that an interval speaks of: other rows of the same kind, all of them; or other
# queries, searched among these very rows.
Population = Literal["new gallery", "this gallery"]


@dataclass(frozen=True, eq=False)
class Bounds:
    """What a figure of some kind can be; each kind has an interval of its own."""

    low: float
    high: float


ANYTHING = Bounds(-math.inf, math.inf)
SHARE = Bounds(0.0, 1.0)
CORRELATION = Bounds(-1.0, 1.0)
COSINE = Bounds(-1.0, 1.0)
POSITIVE = Bounds(0.0, math.inf)


class Estimate(float):
    r"""A number, measured on a sample, with how far other samples would bring it.

    It carries the parts $a_i$ that each row adds to it: the number with the row, less the number
    without it (delete-one jackknife, exact where the measure allows). The squared error is
    $\sum_i a_i^2 - \sum_{i,j} a_{ij}^2$, where $a_{ij}$ is what row $i$ adds as a neighbour of $j$
    or in a pair with it, so that what two rows make together is counted once (docs/measures.md).
    Two estimates from the same rows are paired: the parts of their difference are the differences
    of their parts.

    Attributes:
        scores: If the number is the mean of a score per sample: the scores, shape `(n,)`, NaN for
            samples that do not count. Otherwise empty.
        own: What each row adds by itself, shape `(n,)`, sums to 0.
        shared: What each row adds together with others: first the sum, then sums with random
            signs, whose mean square is that of the single terms; shape `(1 + m, n)`.
        count: Rows that count.
        bounds: Values that the number can take.
        step: What one row can change at most, times `count`; 0 where that is not known.
        bend: Sum, over pairs of rows, of the parts of both times what they add together.
        unseen: What a row may add to the sum that is unlike all that were seen, where these
            together add less; else 0.
    """

    scores: Tensor
    own: Tensor
    shared: Tensor | None
    count: int
    bounds: Bounds
    step: float
    bend: float
    unseen: float = 0.0

    def __new__(
        cls,
        value: float,
        own: Tensor,
        shared: Tensor | None = None,
        *,
        count: int,
        bounds: Bounds = ANYTHING,
        step: float = 0.0,
        bend: float = 0.0,
        scores: Tensor | None = None,
    ) -> "Estimate":
        """Make a number with its parts; see the attributes."""
        made = super().__new__(cls, value)
        made.own = own
        made.shared = shared
        made.count = count
        made.bounds = bounds
        made.step = step
        made.bend = bend
        made.scores = torch.empty(0) if scores is None else scores
        return made

    def __deepcopy__(self, memo: object) -> "Estimate":
        return self

    @cached_property
    def errors(self) -> dict[Population, float]:
        """Return the standard errors for both populations; infinite for a single row."""
        own = float(self.own.square().sum())
        both = own
        if self.shared is not None:
            whole = float(self.parts.square().sum())
            twice = self.shared[1:].square().sum() / max(1, len(self.shared) - 1)
            # What two rows make together is counted twice; a hit is made by three or more.
            both = max(whole - float(twice), whole / (3 if self.step == 1 else 2))
        few = self.count / (self.count - 1) if self.count > 1 else math.inf
        return {
            "new gallery": math.sqrt(few * both) if both else (0.0 if self.count > 1 else few),
            "this gallery": math.sqrt(few * own) if own else (0.0 if self.count > 1 else few),
        }

    def error(self, population: Population = "new gallery") -> float:
        """Return the standard error."""
        return self.errors[population]

    def interval(
        self, confidence: float = CONFIDENCE, population: Population = "new gallery"
    ) -> tuple[float, float]:
        r"""Return the ends of the confidence interval.

        Shares have Wilson's interval, with $p (1 - p)$ over the squared error in place of the
        number of samples (of hits never more than there are: what is rare and has not been seen is
        allowed for); correlations have Fisher's. All else has Student's, leaning as far as the
        parts do (Hall, 1992), and beyond it what was not seen may add, if that may be more than
        all that was.

        Args:
            confidence: How often the interval should hold the true figure.
            population: What else might have been drawn: queries and gallery, or queries alone.
        """
        error = self.error(population)
        if self.bounds is SHARE:
            reach = _quantile(self.count - 1 if self.step else self.freedom, confidence)
            most = float(self.count) if self.step == 1 else math.inf
            spread = self * (1 - self)
            draws = min(most, spread / error**2) if error > 0 < spread else self.count
            return _wilson(float(self), draws, reach, 1 - confidence)
        reach = _quantile(self.freedom, confidence)
        rare = self._rare(confidence)
        below = rare if self.bounds is ANYTHING else 0.0  # of a difference either may miss some
        if error == 0 or not math.isfinite(error * reach):
            return self - error - below, self + error + rare
        if self.bounds is CORRELATION and abs(self) < 1:
            middle, half = math.atanh(self), reach * error / (1 - self * self)
            return math.tanh(middle - half), math.tanh(middle + half)
        lean = self._lean
        low, high = (self - error * _straight(x, lean) for x in (reach, -reach))
        return max(low - below, self.bounds.low), min(high + rare, self.bounds.high)

    def _rare(self, confidence: float) -> float:
        """Return what was not seen may add: as often as none of so many rows still allows."""
        if not self.unseen:
            return 0.0
        return -self.unseen * math.expm1(math.log((1 - confidence) / 2) / self.count)

    @cached_property
    def parts(self) -> Tensor:
        """Return what each row adds, by itself and together with others."""
        return self.own if self.shared is None else self.own + self.shared[0]

    @cached_property
    def freedom(self) -> float:
        """Return the degrees of freedom of the error: few, if few rows make most of it.

        Or if most of it is taken off again, as made by two rows: what is left is as uncertain
        as the whole (Satterthwaite, 1946).
        """
        square, fourth = (float(self.parts.pow(k).sum()) for k in (2, 4))
        spread = fourth - square**2 / max(1, self.count)
        if spread <= 0 or self.count < 2:
            return self.count - 1
        left = self.error() ** 2 * (self.count - 1) / self.count
        return max(1.0, min(self.count - 1, 2 * left**2 / spread))

    @cached_property
    def _lean(self) -> float:
        """Return the skewness of the parts over the root of their number.

        What two rows make together leans as well, and studentising doubles its weight nearly
        (Helmers, 1991: 3 (x² + 1) against 2 x² + 1, taken at the ends of the interval).
        """
        if self.bounds is ANYTHING:  # of differences nobody knows which way they should
            return 0.0
        square, third = (float(self.parts.pow(k).sum()) for k in (2, 3))
        return (third + 10 / 3 * self.bend) / square**1.5 if square > 0 else 0.0

    def minus(self, other: "Estimate") -> "Estimate":
        """Return the paired difference to an estimate of the same kind from the same samples.

        Two scores that differ by one step, one each way, are added to its error, so that equal
        scores are no proof of equal models (Bonett and Price, 2012).
        """
        shared = None
        if self.shared is not None and other.shared is not None:
            shared = self.shared - other.shared
        step = max(self.step, other.step)
        extra = step / max(1, self.count) * torch.tensor([1.0, -1.0], dtype=torch.float64)
        own = torch.cat([self.own - other.own, extra if step else extra[:0]])
        if shared is not None and step:
            shared = torch.nn.functional.pad(shared, (0, 2))
        both = self.scores.shape == other.scores.shape
        gap = Estimate(
            float(self) - float(other),
            own,
            shared,
            count=self.count,
            step=step,
            scores=self.scores - other.scores if both else None,
        )
        gap.unseen = max(self.unseen, other.unseen)
        return gap

    def p_value(self) -> float:
        """Return how often chance alone would bring the number as far from 0."""
        from scipy.special import stdtr  # here: it takes as long to import as all of asterism

        error = self.error()
        far = abs(self) - self._rare(CONFIDENCE)
        if not math.isfinite(error) or far <= 0:
            return 1.0
        return 2 * float(stdtr(self.freedom, -far / error)) if error else 0.0


def mean_of(
    scores: Tensor,
    gallery: Gallery | None = None,
    *,
    bounds: Bounds = ANYTHING,
    step: float = 0.0,
    most: float = 0.0,
) -> Estimate | None:
    """Return the mean of one score per sample; NaN marks samples that do not count.

    Args:
        scores: Shape `(n,)`.
        gallery: What the rows that are searched add to the scores, where any are.
        bounds: Values that the mean can take.
        step: Largest change of a score, for scores that come in steps.
        most: What a single score may be, if all that were seen may be small by chance.

    Returns:
        The mean, or None without a sample that counts.
    """
    counted = ~scores.isnan()
    count = int(counted.sum())
    if not count:
        return None
    filled = torch.where(counted, scores, 0).double()
    value = float(filled.sum()) / count
    own = torch.where(counted, filled - value, 0) / count
    shared = None
    if gallery is not None:
        own, shared = gallery.placed(own, counted)
    mean = Estimate(value, own, shared, count=count, bounds=bounds, step=step, scores=scores)
    mean.unseen = most if value * count < most else 0.0
    return mean


def share_of(
    scores: Tensor, gallery: Gallery | None = None, *, step: float = 1.0
) -> Estimate | None:
    """Return the mean of scores between 0 and 1, see `mean_of`; by default hits and misses."""
    return mean_of(scores, gallery, bounds=SHARE, step=step)


def _quantile(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit  # here: it takes as long to import as all of asterism

    return float(stdtrit(freedom, (1 + confidence) / 2)) if freedom > 0 else math.inf


def _straight(quantile: float, lean: float) -> float:
    """Return the quantile of a studentised mean whose terms lean: Hall's cubic, turned around."""
    if abs(lean) < 1e-6:
        return quantile
    inner = 1 + lean * (quantile - lean / 6)
    return 3 / lean * (math.copysign(abs(inner) ** (1 / 3), inner) - 1)


def _wilson(value: float, draws: float, reach: float, level: float) -> tuple[float, float]:
    """Return Wilson's interval of a share, for so many independent draws.

    Towards a near edge it is known to be too short (Brown, Cai and DasGupta, 2001), so there it
    reaches as far as the exact bound to that side alone (Clopper and Pearson, 1934).
    """
    from scipy.special import betaincinv  # here: it takes as long to import as all of asterism

    if not math.isfinite(reach) or draws <= 0:
        return 0.0, 1.0
    wide = reach**2 / draws
    middle = (value + wide / 2) / (1 + wide)
    half = math.sqrt(wide * max(0.0, value * (1 - value)) + wide**2 / 4) / (1 + wide)
    low, high = middle - half, middle + half
    hits = value * draws
    misses = draws - hits
    if value > 0:
        low = min(low, float(betaincinv(hits, misses + 1, level)))
    if value < 1:
        high = max(high, float(betaincinv(hits + 1, misses, 1 - level)))
    return (0.0 if value <= 0 else max(0.0, low)), (1.0 if value >= 1 else min(1.0, high))
