"""Pairwise distances within a batch."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.relations.budget import block_elements
from asterism.relations.scale import at_unit_scale, unscaled
from asterism.relations.streamed import streamed

# Smallest distance, as in the authors' code, or so small a share of the mean distance where that is
# below 1. Pairs at it get no gradient, so that duplicates and collapse stay finite.
FLOOR = 1e-6
# Squared distance, relative to that of the longest vectors, below which even a float64 Gram matrix
# has lost digits that float32 has: at this one 1e-8 of it.
CLOSE = 1e-7
# Share of a tile's pairs up to which close ones are computed one by one.
FEW_CLOSE = 1 / 64
# Rows up to which differences are as fast as products, and rows of one tile of these.
FEW_ROWS = 128
TILE = 128
# Distances that differ by no larger a factor than this may be multiplied with vectors in float32.
EVEN = 3


@streamed
def mean_distance_gap(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_student"]]:
    """Return the mean Huber gap between the distances of all pairs, each network's over their mean.

    Memory grows as n². The gradient is computed together with the value and cannot be
    differentiated again.

    Args:
        student: Embeddings of the student, at least 2 rows.
        teacher: Embeddings of the teacher; no gradient flows into them.

    Returns:
        The sum over all ordered pairs divided by n², and its gradient for the student.
    """
    n = len(student)
    if student.dtype == torch.float32 and student.device.type == "cpu" and n > FEW_ROWS:
        return _from_products(student, teacher)
    (rows, factor), (rows_t, factor_t) = (at_unit_scale(x)[0] for x in (student, teacher))
    distance, floor = _floored(F.pdist(rows), factor)
    target, _ = _floored(F.pdist(rows_t), factor_t)
    mean = distance.mean()
    gap = (distance / mean).sub_(target.div_(target.mean()))
    slope = gap.clamp(-1, 1)  # the derivative of the Huber function
    value = (gap.sub_(slope, alpha=0.5).mul_(slope)).sum() * (2 / n**2)
    # Each pair counts twice; the mean in the denominator answers to all distances alike.
    through_mean = (slope * distance).mean() / mean
    push = slope.sub_(through_mean).mul_(2 / (n**2 * mean)).div_(distance)
    push.masked_fill_(distance <= floor, 0)
    return value, unscaled(pushes(symmetric(push, n), centred(rows)), factor, student.dtype)


def _floored(distance: Tensor, factor: float | Tensor) -> tuple[Tensor, float | Tensor]:
    """Return distances brought to the floor, and the floor."""
    mean = distance.mean()
    # Of a collapsed network all distances are alike, and which one does not matter.
    if distance.device.type == "cpu":
        floor: float | Tensor = FLOOR * min(float(factor), float(mean)) if mean > 0 else 1.0
    else:
        floor = (FLOOR * torch.clamp(mean, max=factor)).where(mean > 0, 1)
    return distance.clamp_min_(floor), floor


def _from_products(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same from Gram matrices, which cost less than differences for many rows."""
    n = len(student)
    count = len(student) * (len(student) - 1)
    pairs, pairs_t = _Products(student), _Products(teacher)
    (distance, total), (gap, total_t) = pairs.floored(), pairs_t.floored()
    mean, mean_t = total / count, total_t / count
    torch.add(distance, gap, alpha=-mean / mean_t, out=gap).div_(mean)
    slope = gap.clamp(-1, 1)
    value = gap.sub_(slope, alpha=0.5).mul_(slope).sum() / n**2
    through_mean = torch.mul(slope, distance, out=gap).sum() / (count * mean)
    push = slope.sub_(through_mean).mul_(2 / (n**2 * mean)).div_(distance.fill_diagonal_(math.inf))
    if pairs.shortest <= pairs.floor:
        push.masked_fill_(distance <= pairs.floor, 0)
    rows = pairs.wide
    if pairs.even:
        rows = pairs.low - pairs.low.mean(0)
    return value, unscaled(pushes(push, rows), pairs.factor, student.dtype)


class _Products:
    """The distances among the vectors of one network, from a Gram matrix in float64.

    It is made tile by tile, each pair in one order. Pairs so close that it cancels are taken from
    their differences.

    Attributes:
        low: The vectors at unit scale, in their own precision.
        wide: The same in float64.
        factor: By what they were multiplied.
        shortest: The smallest distance.
        even: Whether distances are so alike that products with the vectors may be in float32.
        floor: What distances were brought to.
    """

    def __init__(self, rows: Tensor) -> None:
        self.low, self.factor = at_unit_scale(rows)[0]
        self.wide = self.low.double()
        self.square = self.wide.norm(dim=1).square_()
        self.shortest = math.inf
        self.even = False
        self.floor = 0.0

    def floored(self) -> tuple[Tensor, float]:
        """Return the distances of all pairs, zero for a row and itself, and their sum."""
        n = len(self.low)
        distance = self.low.new_empty(n, n)
        least = 2 * CLOSE * float(self.square.amax())
        longest = 0.0
        for start in range(0, n, TILE):
            i, j = slice(start, start + TILE), slice(start, n)
            both = self.square[i, None] + self.square[j]
            tile = both.addmm_(self.wide[i], self.wide[j].T, alpha=-2)
            longest = max(longest, float(tile.amax()))
            nearest = float(tile.fill_diagonal_(math.inf).amin())
            distances = distance[i, j].copy_(tile).sqrt_()
            if not nearest > least:
                self._recompute(distances, tile <= least, i, j)
                nearest = float(distances.amin()) ** 2
            self.shortest = min(self.shortest, math.sqrt(nearest))
            distance[i.stop :, i] = distances[:, TILE:].T
        self.even = math.sqrt(longest) < EVEN * self.shortest
        total = float(distance.fill_diagonal_(0).sum(1).double().sum())
        # Of a collapsed network all distances are alike, and which one does not matter.
        self.floor = FLOOR * min(float(self.factor), total / (n * (n - 1))) if total > 0 else 1.0
        if self.shortest < self.floor:
            distance.clamp_min_(self.floor).fill_diagonal_(0)
            total = float(distance.sum(1).double().sum())
        return distance, total

    def _recompute(self, tile: Tensor, close: Tensor, i: slice, j: slice) -> None:
        """Take the close pairs of a tile from their differences; of many, all."""
        start, end = self.low[i], self.low[j]
        rows, columns = close.nonzero(as_tuple=True)
        if len(rows) > FEW_CLOSE * close.numel():
            tile.copy_(torch.cdist(start, end, compute_mode="donot_use_mm_for_euclid_dist"))
            tile.fill_diagonal_(math.inf)
            return
        step = max(1, block_elements(end, bytes_each=12, in_cache=2**18) // end.shape[1])
        pairs = (torch.split(x, step) for x in (rows, columns))
        for a, b in zip(*pairs, strict=True):
            tile[a, b] = (start[a] - end[b]).norm(dim=1)


def symmetric(pairs: Float[Tensor, " p"], n: int) -> Float[Tensor, "n n"]:
    """Return the symmetric matrix, with a diagonal of zeros, of the entries above its diagonal.

    Args:
        pairs: One number for each pair `i < j`, in the order of `torch.pdist`.
        n: How many rows the matrix has.
    """
    above = torch.ones(n, n, dtype=torch.bool, device=pairs.device).triu_(1)
    matrix = pairs.new_zeros(n, n).masked_scatter_(above, pairs)
    return matrix.add_(matrix.T.clone())


def centred(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return vectors less their mean, in float64.

    Args:
        rows: The vectors.
    """
    wide = rows.double()
    return wide - wide.mean(0)


def pushes(strength: Float[Tensor, "n n"], rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    r"""Return $\sum_j k_{ij} (x_i - x_j)$ for a symmetric matrix $k$, in its own precision.

    It is a matrix product. The two sums cancel within tight clusters: for these give the vectors in
    float64.

    Args:
        strength: The matrix.
        rows: The vectors; in their precision the product is taken.
    """
    pushed = torch.empty_like(rows, dtype=strength.dtype)
    step = max(1, block_elements(rows, bytes_each=8, in_cache=2**20) // len(rows))
    blocks = (torch.split(x, step) for x in (strength, rows, pushed))
    for k, x, out in zip(*blocks, strict=True):
        k = k.to(x.dtype)
        out.copy_((k.sum(1, keepdim=True) * x).addmm_(k, rows, alpha=-1))
    return pushed
