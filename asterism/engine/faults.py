"""Steps whose loss or gradient is not finite: stop and say where, or leave them out."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asterism.distributed import any_rank
from asterism.words import tell


class Faults:
    """Watches for values that are not finite.

    Attributes:
        limit: How many steps may be left out.
        skipped: How many were.
    """

    def __init__(self, limit: int) -> None:
        """Allow so many faults."""
        self.limit = limit
        self.skipped = 0
        self.before: list[tuple[Tensor, Tensor]] = []
        self.pending: _Pending | None = None

    def remember(self, *modules: nn.Module) -> None:
        """Keep the buffers (running statistics, banks) that a faulty step would spoil."""
        if self.limit:
            buffers = [buffer for module in modules for buffer in module.buffers()]
            self.before = [(buffer, buffer.clone()) for buffer in buffers]

    def refuse_all(self, steps: int) -> None:
        """Refuse a training without a step: its student would be measured like any other.

        Args:
            steps: How many were taken, those before a resumption too.

        Raises:
            ValueError: If none was.
        """
        if not steps:
            raise ValueError(
                f"nothing was trained: all steps were left out, {self.skipped} of them because a "
                "value was not finite."
            )

    @torch.no_grad()
    def passes(self, values: Mapping[str, Tensor], step: int, index: Tensor) -> bool:
        """Return whether all values are finite, on all ranks.

        On a GPU whose faulty steps are not to be left out the answer is yes for the time being,
        and `settle` looks later: asking now would make the device wait.

        Args:
            values: The terms of the loss, and the norm of the gradient.
            step: Number of the step, for the message.
            index: The samples of the step, for the message.

        Raises:
            ValueError: If they are not, and as many steps as may be were left out already.
        """
        finite = torch.stack([value.detach().float() for value in values.values()]).isfinite()
        self.settle()
        self.pending = _Pending(tuple(values), finite, step, index)
        return True if finite.is_cuda and not self.limit else self.settle()

    @torch.no_grad()
    def settle(self) -> bool:
        """Return whether the values of the latest step were finite, on all ranks.

        Raises:
            ValueError: If they were not, and as many steps as may be were left out already.
        """
        if self.pending is None:
            return True
        latest, self.pending = self.pending, None
        fine = latest.finite.tolist()
        if not any_rank(not all(fine), latest.finite.device):
            return True
        bad = ", ".join(name for name, good in zip(latest.names, fine, strict=True) if not good)
        shown = ", ".join(map(str, latest.rows[:16].tolist()))
        shown += ", …" if len(latest.rows) > 16 else ""
        what = f"step {latest.step}: not finite: {bad or 'a value of another rank'}"
        if self.skipped >= self.limit:  # it may have been raised or lowered since
            way = "Lower --lr, clip the gradient with --clip 1"
            if latest.step == 0:  # no learning rate has done anything yet
                way = "Look at what data and networks give (asterism doctor)"
            raise ValueError(
                f"{what}. {way}, or leave such steps out with --skip-nonfinite {self.limit + 10}. "
                f"The batch: samples {shown}."
            )
        self.skipped += 1
        tell(f"{what}; left out ({self.skipped} of {self.limit}). Samples {shown}.")
        for buffer, kept in self.before:
            buffer.copy_(kept)
        return False


class _Pending(NamedTuple):
    """A step that has not been looked at."""

    names: tuple[str, ...]
    finite: Tensor
    step: int
    rows: Tensor
