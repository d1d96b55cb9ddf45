"""Random numbers as pure functions of what they are for: one mixer for every seed."""

import torch
from torch import Tensor

# 2^64 / golden ratio, the constant of splitmix64; without it zeros would give zero.
GOLDEN = 0x9E3779B97F4A7C15


def seed_of(*key: int) -> int:
    """Return a seed for torch's generators, below 2^63, as a function of whole numbers.

    Splitmix64 along them: add its constant and the next number, mix, and so on.

    Args:
        key: What the random numbers are for: the run's seed, the step, the rank, …
    """
    state = 0
    for part in key:
        state = _mixed((state + part + GOLDEN) % 2**64)
    return state % 2**63


def draws(seed: int, index: Tensor, view: int, count: int) -> Tensor:
    """Return `count` uniform numbers in [0, 1) for each sample, shape `(n, count)`, float64.

    A counter-based generator: the finaliser of splitmix64 (Steele, Lea, Flood, 2014), applied
    along (seed, sample, view, number).

    Args:
        seed: The view seed.
        index: Rows of the samples in their data source, int64, shape `(n,)`.
        view: Number of the view.
        count: Numbers per sample.
    """
    key = _mix(torch.tensor(seed, dtype=torch.int64, device=index.device))
    key = _mix(_mix(key + index) + view)
    numbers = torch.arange(1, count + 1, device=index.device)
    bits: Tensor = _mix(key[:, None] + numbers * -7046029254386353131)  # 2^64 / golden ratio
    return _shift(bits, 11).double() * 2.0**-53


def _mixed(x: int) -> int:
    """Return what `_mix` does of a whole number below 2^64."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


def _shift(x: Tensor, by: int) -> Tensor:
    shifted: Tensor = (x >> by) & (2 ** (64 - by) - 1)  # torch shifts int64 with its sign
    return shifted


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * -4658895280553007687
    x = (x ^ _shift(x, 27)) * -7723592293110705685
    return x ^ _shift(x, 31)
