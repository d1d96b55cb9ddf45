"""Measures from covariances: CKA of two embeddings; effective rank and anisotropy of one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.measures.estimate import Estimate, groups_of

# Deviations below this share of the rows' size are rounding of float32.
ROUNDING = 1e-6
# A column with less than this share of the typical deviation is dead.
DEAD = 1e-2


def linear_cka(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> Estimate | None:
    r"""Return the linear centred kernel alignment of two embeddings of the same samples.

    $$\frac{\lVert S^\top T \rVert_F^2}{\lVert S^\top S \rVert_F\,\lVert T^\top T \rVert_F}$$

    with centred columns: 1 for embeddings equal up to rotation, scale and translation. With fewer
    samples than columns it is high for any two embeddings. Replicates leave out a twentieth of the
    samples each, since repeated samples would raise it.

    Args:
        student: Embeddings of the student.
        teacher: Embeddings of the teacher.

    Returns:
        The alignment, between 0 and 1; None if either embedding is constant.

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019.
    """
    s, t = _compact(student), _compact(teacher)
    if s is None or t is None:
        return None
    cross, own_s, own_t = (
        _left_out(lambda c: c.square().sum(), x, y) for x, y in ((s, t), (s, s), (t, t))
    )
    values = cross / (own_s * own_t).sqrt().clamp_min(torch.finfo(cross.dtype).tiny)
    return Estimate(float(values[0]), lambda: values[1:], jackknife=True)


@dataclass(frozen=True)
class Health:
    """Whether an embedding uses its space.

    Attributes:
        effective_rank: Exponential of the entropy of the singular values of the centred rows: how
            many directions carry the embedding. 0 if all rows coincide.
        anisotropy: Mean cosine of two different rows: 0 for directions that fill the space, 1 for
            rows that all point one way. None with fewer than two rows that are not zero.
        dead_dimensions: Number of columns whose deviation is below a hundredth of the root mean
            square of all columns' deviations.
        width: Number of columns.
    """

    effective_rank: Estimate | None
    anisotropy: Estimate | None
    dead_dimensions: int
    width: int


def health(rows: Float[Tensor, "n d"]) -> Health:
    r"""Look for collapse.

    With singular values $\sigma_i$ of the centred rows and $p_i = \sigma_i / \sum_j \sigma_j$ the
    effective rank is $\exp(-\sum_i p_i \log p_i)$. Replicates leave out a twentieth of the rows.

    Args:
        rows: An embedding.

    References:
        Roy and Vetterli, The effective rank, EUSIPCO 2007. Ethayarajh, How Contextual are
        Contextualized Word Representations?, EMNLP 2019 (anisotropy as mean cosine).
    """
    deviation = rows.double().std(0, correction=0) if len(rows) else torch.empty(0)
    typical = deviation.square().mean().sqrt()
    floor = max(DEAD * float(typical.nan_to_num()), _rounding(rows))
    compact = _compact(rows)
    rank = None
    if compact is not None:
        ranks = _left_out(_rank, compact, compact)
        rank = Estimate(float(ranks[0]), lambda: ranks[1:], jackknife=True)
    elif len(rows) > 1:
        rank = Estimate(0.0, lambda: torch.zeros(2), jackknife=True)
    return Health(rank, _anisotropy(rows), int((deviation <= floor).sum()), rows.shape[1])


def effective_rank(rows: Float[Tensor, "n d"]) -> float:
    """Return the effective rank alone, see `health`; 0 if all rows coincide."""
    compact = _compact(rows)
    return 0.0 if compact is None else float(_rank(compact.T @ compact))


def _anisotropy(rows: Tensor) -> Estimate | None:
    units = rows[rows.any(1)].double()
    units /= torch.linalg.vector_norm(units, dim=1, keepdim=True)
    n = len(units)
    if n < 2:
        return None

    # The sum over pairs follows from the sum of the units, of all first and without each group.
    member = F.one_hot(groups_of(n)).double()
    taken = F.pad(member.T @ units, (0, 0, 1, 0))
    number = n - F.pad(member.sum(0), (1, 0))
    total = units.sum(0) - taken
    cosines = (total.square().sum(1) - number) / (number * (number - 1)).clamp_min(1)
    return Estimate(float(cosines[0]), lambda: cosines[1:], jackknife=True)


def _rank(covariance: Tensor) -> Tensor:
    values = torch.linalg.eigvalsh(covariance).clamp_min(0).sqrt()
    share = values / values.sum()
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp()


def _rounding(rows: Tensor) -> float:
    size = float(torch.linalg.vector_norm(rows, dtype=torch.float64))
    return ROUNDING * size / math.sqrt(max(1, rows.numel()))


def _compact(rows: Tensor) -> Tensor | None:
    """Return centred rows of mean size 1, rotated into at most `n` columns; None if constant."""
    if len(rows) < 2:
        return None
    centred = rows.to(torch.float64, copy=True)
    centred -= centred.mean(0)
    size = float(torch.linalg.vector_norm(centred)) / math.sqrt(centred.numel())
    if size <= _rounding(rows):
        return None
    if len(rows) < rows.shape[1]:
        u, s, _ = torch.linalg.svd(centred, full_matrices=False)
        centred = u * s
    return centred.div_(size)


def _left_out(measure: Callable[[Tensor], Tensor], one: Tensor, two: Tensor) -> Tensor:
    """Return a measure of the cross-covariance of all rows, then without each group of rows."""
    group = groups_of(len(one))
    members = [torch.nonzero(group == g).flatten() for g in range(int(group.max()) + 1)]
    products = [one[rows].T @ two[rows] for rows in members]
    total = torch.stack(products).sum(0)
    values = [measure(total)]
    for product, rows in zip(products, members, strict=True):
        # All rows are centred: the sums of what is left are minus the sums of what is taken.
        sums = torch.outer(one[rows].sum(0), two[rows].sum(0))
        values.append(measure(total - product - sums / (len(one) - len(rows))))
    return torch.stack(values)
