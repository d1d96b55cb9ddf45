"""How much memory autograd keeps for its backward pass, on any device."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Held:
    """Counts the bytes of tensors that graphs keep, each storage once.

    Attributes:
        now: Bytes that are kept now.
        most: The most bytes since the last `begin`.
    """

    def __init__(self, apart: Iterable[Tensor]) -> None:
        """Count nothing yet.

        Args:
            apart: Tensors that are kept anyway, as weights.
        """
        self.apart = {x.untyped_storage().data_ptr() for x in apart}
        self.times: Counter[int] = Counter()
        self.now = self.most = 0

    def begin(self) -> None:
        """Forget earlier peaks."""
        self.most = self.now

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what the graphs made in the `with` block keep, for as long as they live."""
        with torch.autograd.graph.saved_tensors_hooks(lambda x: _Kept(x, self), lambda x: x.tensor):
            yield


class _Kept:
    def __init__(self, tensor: Tensor, held: Held) -> None:
        self.tensor, self.held = tensor, held
        storage = tensor.untyped_storage()
        self.at, self.size = storage.data_ptr(), storage.nbytes()
        if self.at not in held.apart:
            held.times[self.at] += 1
            if held.times[self.at] == 1:
                held.now += self.size
                held.most = max(held.most, held.now)

    def __del__(self) -> None:
        if self.at not in self.held.apart:
            self.held.times[self.at] -= 1
            if self.held.times[self.at] == 0:
                self.held.now -= self.size
