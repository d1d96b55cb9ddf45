"""Hinges between all pairs of scores that a teacher puts in order, without a matrix of them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from asterism.relations.streamed import streamed

# Scores of the teacher that differ by no more than this, in units of its last digit, are equal.
TIED = 4


@streamed
def mean_order_gap(
    student: Float[Tensor, " p"], teacher: Float[Tensor, " p"], *, margin: float
) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    r"""Return the mean hinge of all pairs of scores, in the order that the teacher gives them.

    $$\ell = \frac{2}{p (p - 1)} \sum_{a, b:\ t_a > t_b} \max(0,\ s_b - s_a + m)$$

    The $p^2$ differences are never made. With the scores in the teacher's order, runs of them are
    merged as in a merge sort: at each of the $\log p$ levels all scores of a later run meet those
    of the earlier one, which are sorted, so a binary search says how many lie above $s_a - m$, and
    a running sum what they add up to. Memory grows as $p$, time as $p \log^2 p$. The gradient is
    those numbers, computed in the same pass; it cannot be differentiated again.

    Args:
        student: Scores of the student.
        teacher: Scores of the teacher for the same things; no gradient flows into them. Equal ones
            have no order.
        margin: How far apart the student shall keep them, 0 or more.

    Returns:
        The mean over all pairs of scores, zero for fewer than 2, and its gradient for the student.
    """
    p = len(student)
    if p < 2:
        return student.new_zeros(()), torch.zeros_like(student)
    # In the teacher's order, and among equals in the student's.
    order = student.argsort(stable=True)
    order = order[teacher[order].argsort(stable=True)]
    scores = student[order].double()
    target = teacher[order]
    value, push = _hinges(scores, margin)
    apart = target.diff() > TIED * torch.finfo(target.dtype).eps * target[1:].abs()
    # What pairs of equals have added, they and nothing else, is taken away again.
    group = F.pad(apart.cumsum(0), (1, 0))
    reach = scores.amax() - scores.amin() + margin + 1
    tied, tied_push = _hinges(scores + group * reach, margin)
    count = p * (p - 1) / 2
    gradient = torch.empty_like(student)
    gradient[order] = ((push - tied_push) / count).to(student.dtype)
    return ((value - tied) / count).to(student.dtype), gradient


def _hinges(
    scores: Float[Tensor, " p"], margin: float
) -> tuple[Float[Tensor, ""], Int[Tensor, " p"]]:
    """Return the sum of the hinges of each score with all before it, and its gradient."""
    p = len(scores)
    size = 1 << (p - 1).bit_length()
    # Filled up with scores that keep their distance from all before them.
    beyond = torch.arange(1, size - p + 1, device=scores.device) * (2 * margin + 1)
    scores = torch.cat([scores, scores.amax() + beyond])
    place = torch.arange(size, device=scores.device)
    push = torch.zeros_like(place)
    value = scores.new_zeros(())
    length = 1
    while length < size:
        runs = scores.view(-1, 2, length)
        early, late = runs[:, 0].contiguous(), runs[:, 1].contiguous()
        first = torch.searchsorted(early, late - margin, right=True)  # of those above
        above = F.pad(early.flip(1).cumsum(1).flip(1), (0, 1)).gather(1, first)
        value += (above - (length - first) * (late - margin)).sum()
        below = torch.searchsorted(late, early + margin)
        push = (push.view(-1, 2, length) + torch.stack([below, first - length], 1)).flatten()
        length *= 2
        scores, sorting = scores.view(-1, length).sort(1)
        scores = scores.flatten()
        place, push = (x.view(-1, length).gather(1, sorting).flatten() for x in (place, push))
    gradient = torch.empty_like(push)
    gradient[place] = push
    return value, gradient[:p]
