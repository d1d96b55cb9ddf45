"""Random numbers as pure functions of what they are for: one mixer for every seed."""

import torch
from torch import Tensor


def seed_of(*key: int) -> int:
    """Return a seed for torch's generators, below 2^63, as a function of whole numbers.

    Args:
        key: What the random numbers are for: the run's seed, the step, the rank, …
    """
    return hash(key) % 2**63


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


def _shift(x: Tensor, by: int) -> Tensor:
    shifted: Tensor = (x >> by) & (2 ** (64 - by) - 1)  # torch shifts int64 with its sign
    return shifted


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * -4658895280553007687
    x = (x ^ _shift(x, 27)) * -7723592293110705685
    return x ^ _shift(x, 31)
