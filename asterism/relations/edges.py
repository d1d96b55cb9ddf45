"""Gaps between the unit edges of two graphs, without a tensor of all edges."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.relations.budget import block_elements
from asterism.relations.inputs import check_choice
from asterism.relations.scale import at_unit_scale, unscaled
from asterism.relations.streamed import streamed

SampleEdges = Literal["real-virtual", "real-real", "virtual-virtual", "full"]
ClassEdges = Literal["concatenated", "real", "real-virtual"]
Form = Literal["huber", "squared", "clipped"]

# On a CPU, pairs in one tile and elements evaluated at once for pairs without a closed form: small
# enough for its cache.
IN_CACHE = 2**18
# Edges shorter than this, where the largest entry is of the order of 1, have no direction, nor have
# those as short as the rounding of their ends: two views of an image that its augmentation left
# alone differ by that much in a network, and the gradient of such an edge would be noise times a
# large number.
SHORTEST_EDGE = 1e-30
ROUNDING = 2  # in units of the last digit
# Squared length, relative to its vertices', below which a Gram matrix has lost too many digits.
CLOSE = 1e-4


def ends_of(
    edges: SampleEdges | ClassEdges, real: Float[Tensor, "n d"], virtual: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "m d_"], Float[Tensor, "m d_"]]:
    """Return the vertices where a set of edges starts and those where it ends.

    Args:
        edges: `real-virtual` leads from one view to the other; `real-real`, `real` and
            `virtual-virtual` stay within one; `full` joins both views' vertices to one set,
            `concatenated` both views of each vertex to one vector.
        real: Vertices of the real view.
        virtual: Vertices of the virtual view.
    """
    if edges == "real-virtual":
        return real, virtual
    if edges in ("full", "concatenated"):
        real = torch.cat([real, virtual], dim=0 if edges == "full" else 1)
    start = virtual if edges == "virtual-virtual" else real
    return start, start


@streamed
def mean_edge_gap(
    student: Float[Tensor, "n d"],
    student_to: Float[Tensor, "m d"],
    teacher: Float[Tensor, "n d"],
    teacher_to: Float[Tensor, "m d"],
    *,
    form: Form,
    within: bool = False,
    keep: Bool[Tensor, "n m"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    r"""Return the mean gap between the unit edges of two graphs.

    The edge from vertex $u$ to vertex $v$ is $(u - v) / \lVert u - v \rVert$, or zero, without a
    gradient, where the two coincide up to their rounding. With $x = u - v$ in the student and $y$
    in the teacher,

    $$\lVert \hat x - \hat y \rVert^2 = 2 - 2\,\frac{\langle x, y \rangle}
      {\lVert x \rVert \lVert y \rVert},$$

    and these products follow from Gram matrices of the vertices, taken in float64, one tile of
    pairs at a time: memory grows as $(n + m)\,d$. A Huber function equals half of the square
    while no component differs by more than 1, which the largest coordinates of the vertices
    certify for most pairs. The other pairs, and those so close that the Gram matrix cancels, are
    evaluated from their differences, a block at a time. The gradient is computed in the same pass
    and cannot be differentiated again.

    Args:
        student: Vertices of the student where the edges start.
        student_to: Vertices of the student where they end.
        teacher: Vertices of the teacher where the edges start; no gradient flows into them.
        teacher_to: Vertices of the teacher where they end; no gradient flows into them.
        form: `squared` for the squared norm of the difference of two edges; `huber` for the mean
            over its components of the Huber function with threshold 1; `clipped` for the mean over
            its components of their squares, those beyond 1 counted as 0.
        within: Both ends are the same set of vertices; no edge leads from a vertex to itself.
        keep: Which edges count; all by default.

    Returns:
        The mean over the edges that count, zero if there are none, and its gradients for the
        vertices of the student at both ends.
    """
    check_choice("form", form, Form)
    s, t = _Ends(student, student_to), _Ends(teacher, teacher_to)
    sums = _Sums(s, form)
    edges = s.rows.new_zeros(())
    tile = math.isqrt(block_elements(student, bytes_each=100, in_cache=IN_CACHE))
    for i in _tiles(len(student), tile):
        for j in _tiles(len(student_to), tile):
            if within and j.start < i.start:
                continue  # the tile of the edges back, equal up to their sign
            times = _times(i, j, within, keep, like=s.rows)
            edges += times.sum()
            sums.add(s, t, i, j, times)
    edges.clamp_(min=1)
    value = sums.total / edges
    dtype = student.dtype
    gradients = (sums.gradient.div_(edges), sums.gradient_to.div_(edges))
    gradient, gradient_to = (unscaled(x, s.factor, dtype) for x in gradients)
    return value.to(dtype), gradient, gradient_to


def _tiles(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _times(i: slice, j: slice, within: bool, keep: Tensor | None, *, like: Tensor) -> Tensor:
    """How often each pair of the tile counts; within one set, for its edges in both directions."""
    if keep is None:
        times = like.new_full((i.stop - i.start, j.stop - j.start), 1.0 + within)
    else:
        times = keep[i, j].to(like.dtype)
        if within:
            times = times + keep[j, i].T
    return times.triu(1) if within and i == j else times


class _Ends:
    """The vertices of one network at both ends of its edges, with what Gram matrices need."""

    def __init__(self, rows: Tensor, rows_to: Tensor) -> None:
        (rows, self.factor), (rows_to, _) = at_unit_scale(rows, rows_to)
        self.rows, self.rows_to = rows.double(), rows_to.double()
        self.rounding = ROUNDING * torch.finfo(rows.dtype).eps
        # Edges do not change when all vertices move; without a common offset less cancels.
        centre = (self.rows.mean(0) + self.rows_to.mean(0)) / 2
        self.centred, self.centred_to = self.rows - centre, self.rows_to - centre
        self.norm = self.centred.square().sum(1, keepdim=True)
        self.norm_to = self.centred_to.square().sum(1)
        self.highest, self.lowest = self.centred.amax(1, True), self.centred.amin(1, True)
        self.highest_to, self.lowest_to = self.centred_to.amax(1), self.centred_to.amin(1)

    def squares(self, i: slice, j: slice) -> tuple[Tensor, Tensor]:
        """Return the squared lengths of a tile's edges and which of them are too inexact."""
        both = self.norm[i] + self.norm_to[j]
        squares = torch.addmm(both, self.centred[i], self.centred_to[j].T, alpha=-2)
        close = squares <= (CLOSE * both).clamp_(min=SHORTEST_EDGE**2)
        return squares.masked_fill_(close, 1), close

    def units(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
        """Return some edges divided by their lengths, and the inverses of these."""
        start, end = self.rows[i], self.rows_to[j]
        edge = start - end
        length = edge.norm(dim=1, keepdim=True)
        noise = self.rounding * (start.norm(dim=1, keepdim=True) + end.norm(dim=1, keepdim=True))
        inverse = torch.where(length > noise.clamp_(min=SHORTEST_EDGE), 1 / length, 0.0)
        return edge * inverse, inverse

    def reach(self, i: slice, j: slice, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """Return bounds for the components of a tile's unit edges, upwards and downwards."""
        up = (self.highest[i] - self.lowest_to[j]).mul_(inverse)
        return up, (self.highest_to[j] - self.lowest[i]).mul_(inverse)


class _Sums:
    """The sum of the gaps and its gradient, tile by tile."""

    def __init__(self, student: _Ends, form: Form) -> None:
        self.form = form
        self.total = student.rows.new_zeros(())
        self.gradient = torch.zeros_like(student.rows)
        self.gradient_to = torch.zeros_like(student.rows_to)
        width = student.rows.shape[1]
        self.scale = {"squared": 1.0, "huber": 0.5 / width, "clipped": 1.0 / width}[form]

    def add(self, s: _Ends, t: _Ends, i: slice, j: slice, times: Tensor) -> None:
        square_s, close_s = s.squares(i, j)
        square_t, close_t = t.squares(i, j)
        inverse_s, inverse_t = square_s.rsqrt_(), square_t.rsqrt_()
        inner = (s.centred[i] * t.centred[i]).sum(1, keepdim=True)
        cosine = inner + (s.centred_to[j] * t.centred_to[j]).sum(1)
        cosine.addmm_(s.centred[i], t.centred_to[j].T, alpha=-1)
        cosine.addmm_(t.centred[i], s.centred_to[j].T, alpha=-1)
        cosine.mul_(inverse_s).mul_(inverse_t).clamp_(-1, 1)

        direct = close_s.logical_or_(close_t)
        if self.form != "squared":
            # A component beyond 1 takes a squared gap beyond 1, that is a cosine below 1/2.
            up_s, down_s = s.reach(i, j, inverse_s)
            up_t, down_t = t.reach(i, j, inverse_t)
            reach = torch.maximum(up_s.add_(down_t), up_t.add_(down_s))
            direct.logical_or_((reach >= 1 - 1e-9).logical_and_(cosine <= 0.5 + 1e-9))
        rows, columns = direct.logical_and_(times > 0).nonzero(as_tuple=True)
        if len(rows):
            self._add_direct(s, t, rows + i.start, columns + j.start, times[rows, columns])
            times = times.masked_fill(direct, 0)

        self.total += 2 * self.scale * (times * (1 - cosine)).sum()
        # The gradient of -cos(x, y) for x is cos x / |x|² - y / (|x| |y|).
        times = (-2 * self.scale) * times * inverse_s
        pull_t = times * inverse_t
        pull_s = times.mul_(inverse_s).mul_(cosine).neg_()
        for ends, pull in (t, pull_t), (s, pull_s):
            here, there = ends.centred[i], ends.centred_to[j]
            self.gradient[i] += pull.sum(1, keepdim=True) * here
            self.gradient[i].addmm_(pull, there, alpha=-1)
            self.gradient_to[j] += pull.sum(0)[:, None] * there
            self.gradient_to[j].addmm_(pull.T, here, alpha=-1)

    def _add_direct(self, s: _Ends, t: _Ends, i: Tensor, j: Tensor, times: Tensor) -> None:
        step = max(1, block_elements(s.rows, bytes_each=48, in_cache=IN_CACHE) // s.rows.shape[1])
        for i_, j_, times_ in zip(*(torch.split(x, step) for x in (i, j, times)), strict=True):
            edge_s, inverse_s = s.units(i_, j_)
            edge_t, _ = t.units(i_, j_)
            gap = edge_s - edge_t
            if self.form == "clipped":
                gap.masked_fill_(gap.abs() > 1, 0)
            slope = gap.clamp(-1, 1) if self.form == "huber" else gap
            self.total += 2 * self.scale * (times_ @ (slope * (gap - slope / 2)).sum(1))
            slope = slope * (2 * self.scale * times_[:, None])
            # Only the part across the edge turns it.
            slope = (slope - (slope * edge_s).sum(1, keepdim=True) * edge_s) * inverse_s
            self.gradient.index_add_(0, i_, slope)
            self.gradient_to.index_add_(0, j_, slope, alpha=-1)
