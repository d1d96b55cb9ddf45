"""Common scale for vectors, so that their squares neither overflow nor vanish."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Entries between 2 to the minus this and 2 to this are left as they are: squares and sums of them
# are far from the ends of float32.
ORDINARY = 40


class Scaled(NamedTuple):
    """Vectors whose squares neither overflow nor vanish.

    Attributes:
        rows: The vectors, in their own precision.
        factor: By what they were multiplied: a power of two, so that no digit changes.
    """

    rows: Tensor
    factor: float | Tensor


def at_unit_scale(*several: Float[Tensor, "_ d"]) -> list[Scaled]:
    """Bring one or more sets of vectors to a common scale, with entries of at most 1.

    On a CPU, where it costs nothing to look, vectors of an ordinary size are left as they are.

    Args:
        several: The sets.
    """
    ends = [x.detach().abs().amax() for x in several if x.numel()]
    if not ends:
        return [Scaled(x, 1.0) for x in several]
    factor: float | Tensor
    if ends[0].device.type == "cpu":
        factor = power_of_two(max(map(float, ends)))
        if factor == 1:
            return [Scaled(x, 1.0) for x in several]
    else:
        largest = torch.stack(ends).amax().double()
        factor = (largest.frexp().mantissa / largest).nan_to_num_(1.0)
    return [Scaled((x.double() * factor).to(x.dtype), factor) for x in several]


def power_of_two(largest: float) -> float:
    """Return the power of two that brings a number below 1; 1 for a number of an ordinary size.

    Args:
        largest: The number. Zero and what is not finite are left as they are.
    """
    exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
    return 1.0 if abs(exponent) <= ORDINARY else 2.0 ** -max(-1000, min(1000, exponent))


def unscaled(
    gradient: Float[Tensor, "n d"], factor: float | Tensor, dtype: torch.dtype
) -> Float[Tensor, "n d"]:
    """Return the gradient for vectors as they came, from that for the scaled ones.

    It grows as their scale shrinks. What the type cannot hold becomes the largest number that it
    can: infinity would spoil the step.

    Args:
        gradient: The gradient for the scaled vectors.
        factor: By what they were multiplied.
        dtype: The type that is asked for.
    """
    if isinstance(factor, float) and factor == 1:
        return gradient.to(dtype)
    most = torch.finfo(dtype).max
    return (gradient.double() * factor).clamp_(-most, most).to(dtype)
