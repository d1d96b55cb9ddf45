"""The memory that streamed relations take for their blocks."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

# Bytes of one block on a GPU, where large blocks keep the device busy. On a CPU blocks are smaller
# than any sensible budget, because they should stay in its cache.
DEFAULT = 2**28

_budget: float | None = None


@contextmanager
def relation_memory(megabytes: float | None) -> Iterator[None]:
    """Bound the working memory of the losses that are computed inside the `with` block.

    Relations of a batch are streamed: what grows faster than one number for each pair of samples
    exists only block by block. This sets the size of a block. Results do not depend on it, beyond
    rounding.

    Args:
        megabytes: Memory for a block. None for the default: 256 on a GPU, and on a CPU a few
            megabytes that its cache can hold, which no larger budget changes.

    Raises:
        ValueError: If the budget is not positive.

    Examples:
        >>> import asterism, torch
        >>> embedding = torch.eye(100)
        >>> with asterism.relation_memory(1):
        ...     asterism.rkd_angle_loss(embedding, embedding)
        tensor(0.)
    """
    global _budget
    if megabytes is not None and not megabytes > 0:
        raise ValueError(f"relation_memory is a positive number of megabytes; got {megabytes}.")
    before = _budget
    _budget = None if megabytes is None else megabytes * 2**20
    try:
        yield
    finally:
        _budget = before


def block_elements(like: Tensor, *, bytes_each: int, in_cache: int) -> int:
    """Return how many elements a relation may work on at once, at least 1.

    Args:
        like: A tensor on the device of the work.
        bytes_each: Bytes that all tensors of a block take together for each element.
        in_cache: How many elements work best on a CPU.
    """
    allowed = DEFAULT if _budget is None else _budget
    elements = max(1, int(allowed // bytes_each))
    return min(elements, in_cache) if like.device.type == "cpu" else elements
