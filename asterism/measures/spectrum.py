"""Measures from covariances: CKA of two embeddings; effective rank and anisotropy of one."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.measures.estimate import COSINE, POSITIVE, SHARE, Estimate

# Deviations below this share of the rows' size are rounding of float32.
ROUNDING = 1e-6
# A column with less than this share of the typical deviation is dead.
DEAD = 1e-2
# Rows that are left out at a time.
AT_ONCE = 2**12


def linear_cka(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> Estimate | None:
    r"""Return the linear centred kernel alignment of two embeddings of the same samples.

    $$\frac{\lVert S^\top T \rVert_F^2}{\lVert S^\top S \rVert_F\,\lVert T^\top T \rVert_F}$$

    with centred columns: 1 for embeddings equal up to rotation, scale and translation. With fewer
    samples than columns it is high for any two embeddings.

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
    (cross, left), (own_s, left_s), (own_t, left_t) = (
        _left_out(x, y) for x, y in ((s, t), (s, s), (t, t))
    )
    tiny = torch.finfo(cross.dtype).tiny
    value = float(cross / (own_s * own_t).sqrt().clamp_min(tiny))
    parts = value - left / (left_s * left_t).sqrt().clamp_min(tiny)
    return Estimate(value, parts - parts.mean(), count=len(s), bounds=SHARE)


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
    effective rank is $\exp(-\sum_i p_i \log p_i)$.

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
        rank = _effective_rank(compact)
    elif len(rows) > 1:
        rank = Estimate(0.0, torch.zeros(len(rows)), count=len(rows))
    return Health(rank, _anisotropy(rows), int((deviation <= floor).sum()), rows.shape[1])


def effective_rank(rows: Float[Tensor, "n d"]) -> float:
    """Return the effective rank alone, see `health`; 0 if all rows coincide."""
    compact = _compact(rows)
    return 0.0 if compact is None else float(_effective_rank(compact))


def _anisotropy(rows: Tensor) -> Estimate | None:
    units = rows[rows.any(1)].double()
    units /= torch.linalg.vector_norm(units, dim=1, keepdim=True)
    n = len(units)
    if n < 2:
        return None

    # The sum over pairs follows from the sum of the units, of all and without each.
    total = units.sum(0)
    value = float((total.square().sum() - n) / (n * (n - 1)))
    with_others = units @ total - 1
    parts = 2 / n * (with_others / (n - 1) - value)
    # A pair's own square is in the parts of both; it is taken off once.
    squares = ((units.T @ units).square().sum() - n) / 2 - value**2 * n * (n - 1) / 2
    twice = (squares.clamp_min(0) / n).sqrt().expand(n) * 2 / (n * (n - 1))
    shared = torch.stack([parts, twice])
    pulled = (units * parts[:, None]).sum(0).square().sum() - parts.square().sum()
    pulled -= value * (parts.sum().square() - parts.square().sum())
    bend = float(pulled) / (n * (n - 1))
    return Estimate(value, torch.zeros(n), shared, count=n, bounds=COSINE, bend=bend)


def _effective_rank(compact: Tensor) -> Estimate:
    """Return the effective rank of centred rows, with what each adds.

    Without a row each direction's eigenvalue is less by the square of the row's part along it; that
    directions turn as well is left out, which is of the second order.
    """
    n = len(compact)
    values, vectors = torch.linalg.eigh(compact.T @ compact)
    value = float(_rank_of(values))
    left = [
        _rank_of(values - n / (n - 1) * (rows @ vectors).square())
        for rows in torch.split(compact, AT_ONCE)
    ]
    parts = value - torch.cat(left)
    return Estimate(value, parts - parts.mean(), count=n, bounds=POSITIVE)


def _rank_of(eigenvalues: Tensor) -> Tensor:
    sigma = eigenvalues.clamp_min(0).sqrt()
    share = sigma / sigma.sum(-1, keepdim=True)
    rank: Tensor = torch.special.entr(share).sum(-1).exp()
    return rank


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


def _left_out(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Return the square of the cross-covariance of centred rows, and without each of the rows."""
    product = one.T @ two
    whole = product.square().sum()
    factor = len(one) / (len(one) - 1)
    crossed = ((one @ product) * two).sum(1)
    sizes = one.square().sum(1) * two.square().sum(1)
    return whole, whole - 2 * factor * crossed + factor**2 * sizes
