"""Angles within all triplets of a batch, without a tensor of all differences or all cosines."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.relations.budget import block_elements
from asterism.relations.distances import centred, pushes, symmetric
from asterism.relations.scale import at_unit_scale, unscaled
from asterism.relations.streamed import streamed

# Cosines in one block on a CPU: the few tensors of a block stay in the cache.
IN_CACHE = 2**18
# Arms shorter than this, where the largest entry is of the order of 1, have no direction: in
# float64 they are rounding.
SHORTEST_ARM = {torch.float32: 1e-18, torch.float64: 1e-12}
# Elements of the tensor of all arms up to which it is faster to multiply these.
FEW_ARMS = 2**16
# Squared distances that differ by no larger a factor than this may be added in float32: the error
# of the gradient stays at 2e-7, less than with float32 arms.
EVEN = 100


@streamed
def mean_angle_gap(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_student"]]:
    r"""Return the mean Huber gap between the cosines of all ordered triplets.

    For vertex $v$ and arms $a, b$ the law of cosines needs distances alone,

    $$\cos_{vab} = \frac{r_{va}^2 + r_{vb}^2 - r_{ab}^2}{2\,r_{va}\,r_{vb}},$$

    so the cubic part has no factor $d$. It is streamed in blocks of some vertices and some pairs
    of arms, each pair in one order only: $O(n^2)$ memory beside a block. The three squares cancel
    in tight clusters, so they are kept and added in float64 unless all distances of a network are
    alike within a factor of 10; everything after is in the embeddings' precision. Small batches
    multiply the arms.

    An arm of length zero has the cosine 0 with every other arm and gets no gradient. The gradient
    is computed together with the value and cannot be differentiated again.

    Args:
        student: Embeddings of the student.
        teacher: Embeddings of the teacher; no gradient flows into them.

    Returns:
        The sum over all $n^3$ index triplets (degenerate ones included) divided by $n^3$, and its
        gradient for the student.
    """
    dtype = student.dtype
    (student, factor), (teacher, _) = (at_unit_scale(x)[0] for x in (student, teacher))
    n, d = student.shape
    if n <= 64 and n**2 * max(d, teacher.shape[1]) <= FEW_ARMS:
        value, gradient = _multiplied(student, teacher)
        return value, unscaled(gradient, factor, dtype)
    s, t = _Sides(student), _Sides(teacher)
    sums = _Sums(s)
    block = block_elements(student, bytes_each=28, in_cache=IN_CACHE)
    for a, b in _tiles(n, block):
        sums.add(s, t, a, b, block)
    # The gradient for the squared distances: through the numerators, and radially through the
    # denominators. A squared distance between x and y pushes x with 2 (x - y).
    radial = sums.pull.sub_(sums.turn.mul_(s.inverse).mul_(s.inverse))
    push = sums.across.neg_().add_(radial).add_(radial.T).mul_(4 / n**3)
    gradient = pushes(push, centred(student))
    return (sums.total / n**3).to(dtype), unscaled(gradient, factor, dtype)


def _multiplied(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same from the arms themselves."""
    n = len(student)
    units, length = _unit_arms(student)
    units_t, _ = _unit_arms(teacher)
    target = torch.bmm(units_t, units_t.mT)
    gap = torch.baddbmm(target, units, units.mT, beta=-1)
    slope = gap.clamp(-1, 1)
    value = gap.sub_(slope, alpha=0.5).mul_(slope).sum() / n**3
    turned = torch.bmm(slope, units)
    # Only the part across an arm turns it.
    turned.addcmul_((turned * units).sum(2, keepdim=True), units, value=-1).div_(length)
    return value, (turned.sum(0) - turned.sum(1)).mul_(2 / n**3)


def _unit_arms(rows: Tensor) -> tuple[Tensor, Tensor]:
    arms = rows - rows[:, None]
    length = torch.linalg.vector_norm(arms, dim=2, keepdim=True)
    length.masked_fill_(length <= SHORTEST_ARM[rows.dtype], torch.inf)
    return arms.div_(length), length


class _Sides:
    """The sides of all triangles of one network."""

    def __init__(self, rows: Tensor) -> None:
        self.square = square = _squares(rows)
        # 1 / (√2 r), or 0 for sides without length, in the embeddings' precision.
        shortest = SHORTEST_ARM[rows.dtype] ** 2
        long = torch.where(square > shortest, 2 * square, torch.inf)
        self.inverse = long.rsqrt_().to(rows.dtype)

    def cosines(self, a: slice, b: slice, step: int) -> Iterator[Tensor]:
        """Yield the cosines between arms to `a` and to `b`, for `step` vertices after the other.

        Each block overwrites the one before.
        """
        across = self.square[a, b]
        inverse_b = self.inverse[:, b].to(across.dtype)
        over_b = self.square[:, b] * inverse_b
        shape = min(step, len(self.square)), *across.shape
        wide = across.new_empty(shape)
        low = wide if wide.dtype == self.inverse.dtype else self.inverse.new_empty(shape)
        parts = self.square[:, a], self.inverse[:, a], inverse_b, over_b
        for square_a, inverse_a, inverse_b, over_b in zip(
            *(torch.split(part, step) for part in parts), strict=True
        ):
            v = slice(len(square_a))
            # (r_vb² - r_ab² + r_va²) / r_vb, then / r_va.
            torch.addcmul(over_b[:, None], across, inverse_b[:, None], value=-1, out=wide[v])
            wide[v].addcmul_(square_a[:, :, None], inverse_b[:, None])
            cosine = wide[v] if low is wide else low[v].copy_(wide[v])
            yield cosine.mul_(inverse_a[:, :, None])


def _squares(rows: Tensor) -> Tensor:
    """Return all squared distances, in a precision in which three of them may be added."""
    wide = rows.double()
    wide = wide - wide.mean(0)
    if rows.dtype == torch.float32:
        norm = wide.square().sum(1)
        square = torch.addmm(norm, wide, wide.T, alpha=-2).add_(norm[:, None])
        shortest = square.fill_diagonal_(torch.inf).amin()
        longest = square.fill_diagonal_(0).amax()
        if longest < EVEN * shortest:
            return square.to(rows.dtype)
    return symmetric(F.pdist(wide).square_(), len(rows))  # cancels nothing


class _Sums:
    """The sum of the gaps, and the sums of their slopes h that make up the gradient."""

    def __init__(self, sides: _Sides) -> None:
        self.total = sides.inverse.new_zeros((), dtype=torch.float64)
        # For the ends a and b of two arms: sum over the vertices v of h_vab / (2 r_va r_vb).
        self.across = torch.zeros_like(sides.inverse)
        # For a vertex v and an end a: sum over the other ends b of h_vab / (2 r_va r_vb),
        self.pull = torch.zeros_like(sides.inverse)
        # and of h_vab cos_vab.
        self.turn = torch.zeros_like(sides.inverse)

    def add(self, s: _Sides, t: _Sides, a: slice, b: slice, block: int) -> None:
        """Add all triplets with one end in `a` and the other in `b`."""
        step = max(1, block // ((a.stop - a.start) * (b.stop - b.start)))
        across = s.inverse.new_zeros(s.square[a, b].shape, dtype=torch.float64)
        room = s.inverse.new_empty(min(step, len(s.inverse)), *across.shape)
        sums = []
        for cosine, target, inverse_a, inverse_b in zip(
            s.cosines(a, b, step),
            t.cosines(a, b, step),
            torch.split(s.inverse[:, a], step),
            torch.split(s.inverse[:, b], step),
            strict=True,
        ):
            gap = torch.sub(cosine, target, out=target)
            slope = torch.clamp(gap, -1, 1, out=room[: len(gap)])  # the Huber function's
            total = gap.sub_(slope, alpha=0.5).mul_(slope).sum()
            turn = cosine.mul_(slope)
            pull = slope.mul_(inverse_a[:, :, None]).mul_(inverse_b[:, None])
            across += pull.sum(0)
            sums.append((total[None], pull.sum(2), turn.sum(2), pull.sum(1), turn.sum(1)))
        total, pull_a, turn_a, pull_b, turn_b = (torch.cat(x) for x in zip(*sums, strict=True))
        self.across[a, b] = across
        self.pull[:, a] += pull_a
        self.turn[:, a] += turn_a
        self.total += total.sum(dtype=torch.float64)
        if a != b:  # the same triplets with their arms exchanged
            self.across[b, a] = across.T
            self.pull[:, b] += pull_b
            self.turn[:, b] += turn_b
            self.total += total.sum(dtype=torch.float64)


def _tiles(n: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Yield pairs of ranges of ends: squares on the diagonal, and what is above them, in pieces."""
    edge = n if n**3 <= block else max(1, int(block ** (1 / 3)))
    for start in range(0, n, edge):
        a = slice(start, min(start + edge, n))
        yield a, a
        for beside in range(a.stop, n, 4 * edge):
            yield a, slice(beside, min(beside + 4 * edge, n))
