"""A LightningModule around `asterism.Distillation`."""

from collections.abc import Callable, Iterator
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from asterism.engine import Distillation


class DistillModule(lightning.LightningModule):
    """Student, frozen teacher and methods, for Lightning's Trainer.

    Batches are samples, `(samples, target)` or `(samples, target, index)`, and with methods that
    compare several views `((view, view), target, index)`; override `parts` for others. The terms
    are logged by name and as `loss`, those of validation data as `val_…`. On several devices
    Lightning averages gradients, and relations see the samples of all of them: multiply nothing.
    Checkpoints hold student, heads and banks, and not the teacher.

    Fixed anchors (RRKD with anchors) are refused by `Distillation`.
    """

    def __init__(
        self,
        distillation: Distillation,
        optimizer: Callable[[Iterator[nn.Parameter]], Any] = torch.optim.AdamW,
    ) -> None:
        """Wrap a distillation.

        Args:
            distillation: Its loss.
            optimizer: Makes what `configure_optimizers` returns, of the parameters: student and
                heads.
        """
        super().__init__()
        self.distillation = distillation
        self.optimizer = optimizer

    def parts(self, batch: Any) -> tuple[tuple[Any, ...], Tensor | None, Tensor | None]:
        """Return views, class numbers and numbers of the samples of a batch; override for yours."""
        rest: list[Any] = []
        if isinstance(batch, tuple | list) and not isinstance(batch[0], str):
            batch, *rest = batch
        several = isinstance(batch, tuple | list) and not isinstance(batch[0], str)
        target, index, *_ = [*rest, None, None]
        return (tuple(batch) if several else (batch,)), target, index

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the sum of the terms."""
        return self._step(batch, "")

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the sum of the terms; banks stay as they are."""
        return self._step(batch, "val_")

    def _step(self, batch: Any, prefix: str) -> Tensor:
        views, target, index = self.parts(batch)
        terms = self.distillation(*views, target=target, index=index)
        loss = torch.stack(list(terms.values())).sum()
        shown = {prefix + k: v.detach() for k, v in {"loss": loss, **terms}.items()}
        self.log_dict(shown, batch_size=len(views[0]), sync_dist=bool(prefix))
        return loss

    def configure_optimizers(self) -> Any:
        """Return the optimiser of student and heads."""
        return self.optimizer(p for p in self.parameters() if p.requires_grad)
