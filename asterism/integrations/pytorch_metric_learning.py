"""Losses of pytorch-metric-learning beside methods, as the papers of metric learning have them."""

from typing import Any, ClassVar

from pytorch_metric_learning.losses import CrossBatchMemory
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper
from torch import Tensor, nn

from asterism.methods.base import Method
from asterism.types import Batch, Outputs


class MetricLoss(Method):
    """A loss of that library on the student's embeddings and their labels, for `Distillation`.

    It sees the samples of all ranks as methods do, so it needs no DistributedLossWrapper, which
    would gather a second time, and is refused; as is CrossBatchMemory, whose memory is in no
    checkpoint. Proxies are trained with the heads.

    The other way round, a method as a loss of that library, is not offered: its distributed wrapper
    multiplies by the number of ranks, which heads and banks do not bear. Methods are modules
    already: `asterism.RKD()(Outputs(student), Outputs(teacher))`.
    """

    paper: ClassVar[str] = "Musgrave et al. 2020, https://arxiv.org/abs/2008.09164"
    needs = frozenset({"target"})

    def __init__(
        self, *, loss: nn.Module, miner: nn.Module | None = None, weight: float = 1.0
    ) -> None:
        """Hold the loss.

        Args:
            loss: As `losses.TripletMarginLoss()`.
            miner: Chooses pairs or triplets for it; None for all of them.
            weight: Factor of the loss, beside the task loss's own.

        Raises:
            ValueError: If it gathers or remembers by itself.
        """
        super().__init__()
        if isinstance(loss, DistributedLossWrapper | CrossBatchMemory):
            raise ValueError(
                f"MetricLoss takes the loss inside the {type(loss).__name__}: all ranks' samples "
                "are given to it, and checkpoints hold no memory of that library."
            )
        self.loss = loss
        self.miner = miner
        self.weight = weight

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"metric": loss}`.

        Raises:
            ValueError: If there are no labels.
        """
        if batch is None or batch.target is None:
            raise ValueError("MetricLoss needs labels: give a batch with a target.")
        chosen: Any = None
        if self.miner is not None:
            chosen = self.miner(student.embedding, batch.target)
        return {"metric": self.weight * self.loss(student.embedding, batch.target, chosen)}
