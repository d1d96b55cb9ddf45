"""Classification accuracy and calibration."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.estimate import SHARE, Estimate, share_of

# Bins of confidence of the calibration error.
BINS = 15


@dataclass(frozen=True)
class Classification:
    """Accuracy of a classifier.

    Attributes:
        top1: Share of samples whose target has the highest logit; None without samples.
        top5: Share of samples whose target is among the five highest logits; None with fewer than
            six classes, where it says nothing.
    """

    top1: Estimate | None
    top5: Estimate | None


def classification(logits: Float[Tensor, "n c"], target: Int[Tensor, " n"]) -> Classification:
    r"""Return the top-1 and top-5 accuracy.

    Equal logits share the places they take: a target that ties with $e - 1$ others, with $g$
    classes above, counts as its chance under a random order, $\min(1, \max(0, (k - g) / e))$. So
    no order of the classes helps, and constant logits score $k / c$. A row with NaN is wrong.

    Args:
        logits: Class scores, one row per sample.
        target: Class numbers.

    Returns:
        The accuracies, between 0 and 1.

    Raises:
        ValueError: If the lengths differ or a target is no column of the logits.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
        >>> classification(logits, torch.tensor([0, 1, 0]))
        Classification(top1=0.5, top5=None)
    """
    n, c = _check("classification", logits, target)
    if n == 0:
        return Classification(None, None)
    own = logits.gather(1, target[:, None].long())
    above = (~(logits <= own)).sum(1)  # not `>`: comparisons with NaN are false
    equal = (logits == own).sum(1).clamp_min(1).double()

    def top(k: int) -> Estimate | None:
        return share_of(((k - above) / equal).clamp(0, 1))

    return Classification(top(1), top(5) if c > 5 else None)


def calibration_error(
    logits: Float[Tensor, "n c"], target: Int[Tensor, " n"], *, bins: int = BINS
) -> Estimate | None:
    r"""Return how far the confidence of a classifier is from its accuracy.

    The confidence is the highest probability of the softmax. Samples are sorted into bins of equal
    width by it, and

    $$\mathrm{ECE} = \sum_b \frac{n_b}{n}\,
      \lvert \mathrm{accuracy}_b - \mathrm{confidence}_b \rvert$$

    A bin of few samples adds its noise: the error of a perfectly calibrated model is about
    $0.4 \sqrt{\text{bins} / n}$, not 0. A bin whose gap is mostly noise varies less than the gap
    itself, whose sign is not counted; its part of the interval is shrunk by as much.

    Args:
        logits: Class scores, one row per sample.
        target: Class numbers.
        bins: Number of bins.

    Returns:
        The error, between 0 and 1, or None without samples.

    Raises:
        ValueError: If the lengths differ or a target is no column of the logits.

    Examples:
        >>> import torch
        >>> sure = torch.tensor([[50.0, 0.0], [50.0, 0.0]])
        >>> calibration_error(sure, torch.tensor([0, 1]))
        0.5

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3,
        https://arxiv.org/abs/1706.04599.
    """
    n, _ = _check("calibration_error", logits, target)
    if n == 0:
        return None
    confidence, chosen = logits.double().softmax(1).max(1)
    number = (confidence * bins).ceil().clamp(1, bins).long() - 1  # bins are open below
    gap = torch.zeros(n, bins, dtype=torch.float64)
    gap[torch.arange(n), number] = (chosen == target).double() - confidence

    total = gap.sum(0)
    value = float(total.abs().sum() / n)
    own = (gap * total.sign() * _shrunk(total, gap.square().sum(0))).sum(1) / n
    return Estimate(value, own - own.mean(), count=n, bounds=SHARE, step=1.0)


def _shrunk(mean: Tensor, variance: Tensor) -> Tensor:
    """Return by how much the absolute value of a normal variable varies less than the variable."""
    square = mean.square() / variance.clamp_min(1e-300)
    middle = square.sqrt()
    folded = (2 / math.pi) ** 0.5 * (-square / 2).exp() + middle * torch.special.erf(
        middle / 2**0.5
    )
    shrunk: Tensor = (1 + square - folded.square()).clamp_min(0).sqrt()
    return shrunk


def _check(measure: str, logits: Tensor, target: Tensor) -> tuple[int, int]:
    """Return the shape of the logits, or say what does not fit."""
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ValueError(
            f"{measure} needs one row of logits and one class number per sample; got "
            f"{tuple(logits.shape)} and {tuple(target.shape)}."
        )
    n, c = logits.shape
    low, high = (int(extreme) for extreme in target.aminmax()) if n else (0, 0)
    if n and (low < 0 or high >= c):
        raise ValueError(
            f"{measure} needs class numbers from 0 to {c - 1}, the columns of the logits; "
            f"got {low} to {high}."
        )
    return n, c
