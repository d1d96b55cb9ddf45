"""Neighbourhoods: similarities of rows as probabilities."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# The search for a temperature: its ends, how often they are halved, and how many similarities it
# looks at, for a median needs no more.
COLDEST = 1e-4
HOTTEST = 1e2
HALVINGS = 32
LOOKED_AT = 2**20


def log_neighbours(
    near: Float[Tensor, "n m"],
    left_out: Bool[Tensor, "n m"],
    temperature: float | Float[Tensor, ""],
) -> Float[Tensor, "n m"]:
    """Return the logarithms of the softmax of each row's similarities at a temperature.

    Args:
        near: Similarities.
        left_out: Which of them do not count. Their probability is zero; its logarithm, which no
            loss should look at, is finite, and all are alike where a row has no other.
        temperature: Softness.
    """
    # A large negative number, not infinity: a sample without any neighbour must not give 0/0.
    nowhere = torch.finfo(near.dtype).min / 4
    return (near / temperature).masked_fill(left_out, nowhere).log_softmax(1)


@torch.no_grad()
def temperature_for(
    near: Float[Tensor, "n m"], left_out: Bool[Tensor, "n m"], perplexity: float
) -> Float[Tensor, ""]:
    r"""Return the temperature at which the rows' median perplexity, $e^{H(p_i)}$, is a given one.

    Perplexity grows with the temperature, so halving an interval finds it; nothing is copied from
    the device.

    Args:
        near: Similarities, from -1 to 1.
        left_out: Which of them do not count.
        perplexity: How many neighbours the median row shall have in effect; at most half of those
            that count.
    """
    rows = slice(None, None, max(1, near.numel() // LOOKED_AT))
    near = near[rows]
    left_out = left_out[rows]
    most = ((~left_out).sum(1).amin() / 2).clamp(min=1)
    wanted = most.clamp(max=perplexity).log().to(near.dtype)
    low, high = (near.new_full((), math.log(end)) for end in (COLDEST, HOTTEST))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        log_p = log_neighbours(near, left_out, middle.exp())
        too_hot = (log_p.exp() * log_p).sum(1).neg().median() > wanted
        low, high = torch.where(too_hot, low, middle), torch.where(too_hot, middle, high)
    return ((low + high) / 2).exp()
