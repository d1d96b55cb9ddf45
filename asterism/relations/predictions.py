"""Relations of logits: vertices of edges between predictions, and which pairs to trust."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.relations.budget import block_elements
from asterism.relations.inputs import check_choice

Vertices = Literal["logits", "zscore", "softmax"]
Criterion = Literal["cross_entropy", "mixture", "sum"]

# Elements of the mixtures of one block on a CPU.
IN_CACHE = 2**18


def vertices_of(logits: Float[Tensor, "n c"], kind: Vertices) -> Float[Tensor, "n c"]:
    """Return the logits, their z-scores over the classes (unbiased, eps 1e-7), or their softmax.

    Args:
        logits: Class scores, one row per sample.
        kind: Which of the three. The z-score of a row without spread is zero, without a gradient.
    """
    check_choice("vertices", kind, Vertices)
    if kind == "logits":
        return logits
    return logits.softmax(1) if kind == "softmax" else standardised(logits)


def standardised(logits: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Return each row less its mean, divided by its standard deviation (unbiased, eps 1e-7).

    Args:
        logits: Class scores, one row per sample. A row without spread, as of a single class, gives
            zeros without a gradient.
    """
    if logits.shape[1] < 2:
        return logits.masked_fill(torch.ones_like(logits, dtype=torch.bool), 0)
    deviation = logits.std(1, keepdim=True)
    rounding = 4 * torch.finfo(logits.dtype).eps * logits.detach().abs().amax(1, keepdim=True)
    flat = deviation.detach() <= rounding
    scores = (logits - logits.mean(1, keepdim=True)) / (deviation + 1e-7)
    return scores.masked_fill(flat, 0)


def joint_uncertainty(
    logits: Float[Tensor, "n c"], logits_to: Float[Tensor, "m c"], *, criterion: Criterion
) -> Float[Tensor, "n m"]:
    r"""Return the joint uncertainty of each pair of predictions, in nats and without a gradient.

    With the class probabilities $p$ and $q$ of the two predictions it is

    - `cross_entropy`: $-\sum_c p_c \log q_c = H(p) + \mathrm{KL}(p \Vert q)$, which grows with the
      uncertainty of the first and with the discrepancy between the two;
    - `mixture`: the entropy of $(p + q) / 2$, symmetric and at most $\log c$;
    - `sum`: $H(p) + H(q)$, which ignores the discrepancy.

    Args:
        logits: Class scores of the first predictions.
        logits_to: Class scores of the second predictions.
        criterion: Which of the three.
    """
    check_choice("criterion", criterion, Criterion)
    log_p, log_q = logits.detach().log_softmax(1), logits_to.detach().log_softmax(1)
    p, q = log_p.exp(), log_q.exp()
    if criterion == "cross_entropy":
        return -p @ log_q.T
    if criterion == "sum":
        return -(p * log_p).sum(1)[:, None] - (q * log_q).sum(1)
    step = block_elements(p, bytes_each=12, in_cache=IN_CACHE) // q.numel()
    blocks = torch.split(p, max(1, step))
    return torch.cat([torch.special.entr((block[:, None] + q) / 2).sum(2) for block in blocks])


def reliable_pairs(
    student: tuple[Float[Tensor, "n c"], Float[Tensor, "m c"]],
    teacher: tuple[Float[Tensor, "n c"], Float[Tensor, "m c"]],
    *,
    criterion: Criterion,
    within: bool = False,
    keep_quantile: float | None = None,
    keep_below: float | None = None,
    keep_below_teacher: bool = False,
) -> Bool[Tensor, "n m"] | None:
    """Return which pairs of predictions pass all the given rules; None if none is given.

    Values closer than rounding count as equal: symmetric criteria and duplicate samples give ties,
    which the order of additions must not break.

    Args:
        student: Logits of the student at both ends of the pairs.
        teacher: Logits of the teacher at both ends.
        criterion: What is compared, see `joint_uncertainty`.
        within: Both ends are the same samples, and a sample with itself is no pair.
        keep_quantile: Keep pairs up to this quantile of the student's uncertainty.
        keep_below: Keep pairs up to this uncertainty of the student.
        keep_below_teacher: Keep pairs up to the teacher's uncertainty.

    Raises:
        ValueError: If the quantile is not from 0 to 1, or the criterion is unknown.
    """
    check_choice("criterion", criterion, Criterion)
    if keep_quantile is not None and not 0 <= keep_quantile <= 1:
        raise ValueError(
            f"keep_quantile is the share of the edges to keep, from 0 to 1, or None to keep all; "
            f"got {keep_quantile}."
        )
    if keep_quantile is None and keep_below is None and not keep_below_teacher:
        return None
    uncertainty = joint_uncertainty(*student, criterion=criterion)
    least = uncertainty * (1 - 8 * torch.finfo(uncertainty.dtype).eps)
    keep = torch.ones_like(uncertainty, dtype=torch.bool)
    if keep_quantile is not None:
        pairs = _off_diagonal(uncertainty) if within else uncertainty
        keep = keep & (least <= quantile(pairs.flatten(), keep_quantile))
    if keep_below is not None:
        keep = keep & (least <= keep_below)
    if keep_below_teacher:
        keep = keep & (least <= joint_uncertainty(*teacher, criterion=criterion))
    return keep


def _off_diagonal(square: Tensor) -> Tensor:
    """Return a square matrix without its diagonal, row by row."""
    n = len(square)
    return square.flatten()[1:].view(n - 1, n + 1)[:, :-1]


def divergence(student: Float[Tensor, "n c"], teacher: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    r"""Return the mean over the rows of $\mathrm{KL}(p^t \Vert p^s)$.

    Args:
        student: Logarithms of the student's probabilities.
        teacher: Logarithms of the teacher's.
    """
    return (teacher.exp() * (teacher - student)).sum() / len(student)


def quantile(values: Float[Tensor, " p"], q: float) -> Float[Tensor, ""]:
    """Return the linearly interpolated quantile, as `torch.quantile`, for any number of values."""
    rank = q * (len(values) - 1)
    lower = values.kthvalue(int(rank) + 1).values
    if rank == int(rank):
        return lower
    upper = values.kthvalue(int(rank) + 2).values
    return torch.lerp(lower, upper, rank - int(rank))
