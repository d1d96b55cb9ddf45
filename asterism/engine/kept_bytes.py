"""How much memory autograd keeps for its backward pass, on any device."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class KeptBytes:
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
    def __init__(self, tensor: Tensor, meter: KeptBytes) -> None:
        self.tensor = tensor
        self.meter = meter
        storage = tensor.untyped_storage()
        self.at, self.size = storage.data_ptr(), storage.nbytes()
        if self.at not in meter.apart:
            meter.times[self.at] += 1
            if meter.times[self.at] == 1:
                meter.now += self.size
                meter.most = max(meter.most, meter.now)

    def __del__(self) -> None:
        if self.at not in self.meter.apart:
            self.meter.times[self.at] -= 1
            if self.meter.times[self.at] == 0:
                self.meter.now -= self.size
