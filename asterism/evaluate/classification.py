"""How often the right class is on top."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Classification:
    """Accuracy of a classifier.

    Attributes:
        top1: Share of samples whose target has the highest logit; None without samples.
        top5: Share of samples whose target is among the five highest logits; None with fewer than
            six classes, where it says nothing.
    """

    top1: float | None
    top5: float | None


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
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ValueError(
            "classification needs one row of logits and one class number per sample; got "
            f"{tuple(logits.shape)} and {tuple(target.shape)}."
        )
    n, c = logits.shape
    if n == 0:
        return Classification(None, None)
    low, high = (int(extreme) for extreme in target.aminmax())
    if low < 0 or high >= c:
        raise ValueError(
            f"classification needs class numbers from 0 to {c - 1}, the columns of the logits; "
            f"got {low} to {high}."
        )
    own = logits.gather(1, target[:, None].long())
    above = (~(logits <= own)).sum(1)  # not `>`: comparisons with NaN are false
    equal = (logits == own).sum(1).clamp_min(1).double()

    def top(k: int) -> float:
        return float(((k - above) / equal).clamp(0, 1).mean())

    return Classification(top(1), top(5) if c > 5 else None)
