"""Angles within all triplets of a batch, without a tensor of all differences or all cosines."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

# Cosines of one block, in elements: small enough to stay in the processor's cache.
BLOCK = 2**19
# Arms shorter than this have no direction.
SHORTEST_ARM = 1e-12


def mean_angle_gap(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> Float[Tensor, ""]:
    r"""Return the mean Huber gap between the cosines of all ordered triplets.

    For vertex $v$ and arms $a, b$ the law of cosines needs distances alone,

    $$\cos_{vab} = \frac{r_{va}^2 + r_{vb}^2 - r_{ab}^2}{2\,r_{va}\,r_{vb}},$$

    so the cubic part has no factor $d$, and it is streamed over blocks of vertices: $O(n^2)$
    memory. An arm of length zero has the cosine 0 with every other arm and gets no gradient. The
    gradient is computed in the same pass and cannot be differentiated again. Up to 16 samples the
    arms themselves are multiplied, which is as fast there and rounds less.

    Args:
        student: Embeddings of the student.
        teacher: Embeddings of the teacher; no gradient flows into them.

    Returns:
        The sum over all $n^3$ index triplets (degenerate ones included) divided by $n^3$.
    """
    teacher = teacher.detach()
    if len(student) <= 16:
        return F.smooth_l1_loss(_direct_cosines(student), _direct_cosines(teacher))
    gap: Tensor = _MeanAngleGap.apply(student, teacher)  # type: ignore[no-untyped-call]
    return gap


def _direct_cosines(rows: Tensor) -> Tensor:
    arms = rows[None] - rows[:, None]
    square = arms.square().sum(2, keepdim=True)
    has_length = square > SHORTEST_ARM**2
    units = arms * torch.where(has_length, square, 1).rsqrt() * has_length
    return units @ units.mT


class _MeanAngleGap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        n = len(student)
        # Float64 where cancellation matters (squared distances and the sums of three of them);
        # the cubic part itself runs in the embeddings' own precision.
        rows = student.double() - student.double().mean(0)
        square_s, inverse_s = _squares_and_inverses(rows)
        square_t, inverse_t = _squares_and_inverses(teacher.double())
        inverse_s_low, inverse_t_low = inverse_s.to(student.dtype), inverse_t.to(student.dtype)

        total = rows.new_zeros(())
        arms = rows.new_zeros(n, n)  # sum over v of h_vab / (r_va r_vb)
        pull = torch.zeros_like(arms)  # sum over b of h_vab / (r_va r_vb)
        turn = torch.zeros_like(arms)  # sum over b of h_vab cos_vab
        for v in torch.split(torch.arange(n, device=rows.device), max(1, BLOCK // n**2)):
            cosine = _cosines(square_s, inverse_s_low, v)
            gap = cosine - _cosines(square_t, inverse_t_low, v)
            slope = gap.clamp(-1, 1)  # the derivative of the Huber function
            total += (slope * gap.sub_(slope, alpha=0.5)).sum(dtype=torch.float64)
            turn[v] = cosine.mul_(slope).sum(2).double()
            weight = slope.mul_(inverse_s_low[v, :, None]).mul_(inverse_s_low[v, None, :])
            pull[v] = weight.sum(2).double()
            arms += weight.sum(0)
        # With weights w and the radial parts, d loss / d s_i = sum_j k_ij (s_j - s_i).
        radial = pull - inverse_s.square() * turn
        k = 2 * (arms - radial - radial.T)
        gradient = k @ rows - k.sum(1, keepdim=True) * rows
        ctx.save_for_backward(gradient.div_(n**3).to(student.dtype))
        return (total / n**3).to(student.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None


def _squares_and_inverses(rows: Tensor) -> tuple[Tensor, Tensor]:
    distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    inverse = torch.where(distance > SHORTEST_ARM, 1 / distance, 0.0)
    return distance.square(), inverse


def _cosines(square: Tensor, inverse: Tensor, v: Tensor) -> Tensor:
    numerator = (square[v, :, None] + square[v, None, :] - square).mul_(0.5).to(inverse.dtype)
    return numerator.mul_(inverse[v, :, None]).mul_(inverse[v, None, :])
