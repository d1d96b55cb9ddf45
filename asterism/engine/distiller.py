"""The one LightningModule: student, methods, and a teacher that is never part of it."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asterism.augment import Views, as_input
from asterism.data.known import Lookup
from asterism.data.loading import Order
from asterism.distributed import (
    average_buffers,
    average_gradients,
    gather_rows,
    ranks,
    shard_sizes,
)
from asterism.engine.balance import Balance
from asterism.engine.encoding import seed_step
from asterism.engine.faults import Faults
from asterism.engine.networks import Networks
from asterism.engine.objective import Objective
from asterism.engine.optimisation import clip_gradients, make_optimizer, make_schedule
from asterism.engine.settings import Settings
from asterism.methods.base import Method
from asterism.types import Batch, Outputs, Samples, batch_on_device, join_outputs

Score = Callable[[Outputs, Tensor | None], dict[str, float]]


class Distiller(lightning.LightningModule):
    """Train a student on the task and on the terms of the methods.

    One step: each rank encodes its samples, in chunks if they are many; the outputs of all ranks
    are gathered; the loss is computed of them, and its gradient flows back to each rank's chunks.

    Attributes:
        student: The network that is trained.
        objective: The task and the methods.
        balance: What sets the factors of their terms; None for the weights that are given.
        score: What validation measures, from the student's outputs and the labels on the
            validation rows; its first entry, the larger the better, selects the best epoch.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        methods: Sequence[Method],
        *,
        settings: Settings,
        views: Views | None,
        score: Score,
        use_labels: bool,
        order: Order,
        known: Lookup | None = None,
        anchors: tuple[Samples, Outputs] | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            student: The network that is trained.
            teacher: Its teacher, or None.
            methods: The methods, set up.
            settings: How to train.
            views: What makes the training views; None leaves samples as they come.
            score: See above.
            use_labels: Whether the task loss is part of the objective.
            order: The order of the training batches, for the schedule.
            known: The teacher's outputs where they need not be computed: no teacher is run then.
            anchors: The anchor samples, clean, and what the teacher returns for them.
        """
        super().__init__()
        # Two backward passes and one exchange between ranks make a step: not Lightning's loop.
        self.automatic_optimization = False
        self.student = student
        self.objective = Objective(
            methods,
            task_weight=settings.task_weight if use_labels else 0.0,
            train_views=settings.trained_views,
            local=settings.relation_scope == "local",
        )
        self.ema = (
            AveragedModel(
                student,
                multi_avg_fn=get_ema_multi_avg_fn(settings.ema),  # type: ignore[no-untyped-call]
                use_buffers=True,
            )
            if settings.ema
            else None
        )
        self.networks = Networks(
            student, teacher, settings=settings, views=views, known=known, anchors=anchors
        )
        self.settings, self.score, self.order = settings, score, order
        self.balance = Balance() if settings.loss_weights == "auto" and methods else None
        self.faults = Faults(settings.skip_nonfinite)
        self.broken: dict[str, None] = {}  # unreadable samples by name, in order
        self.last_loss = float("nan")
        self.validated: list[tuple[Outputs, Tensor | None]] = []
        self.scores: dict[str, float] = {}

    @property
    def kept(self) -> nn.Module:
        """Return the network that is evaluated and kept."""
        return self.ema.module if self.ema is not None else self.student

    def setup(self, stage: str) -> None:
        """Move student, teacher and anchors to where the training runs."""
        self.networks.to(self.device)

    def on_train_start(self) -> None:
        """Switch the student to train mode: Lightning keeps the mode that it finds."""
        self.student.train()
        self.objective.train()

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move the tensors of a batch."""
        return batch_on_device(batch, device)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any] | None:
        """Take one step of the optimiser; return the loss and its terms by name."""
        self.broken |= dict.fromkeys(batch.broken)
        sizes = shard_sizes(len(batch.index), self.device)
        if sum(sizes) == 0:
            return None
        key = (self.settings.seed, self.current_epoch * len(self.order) + batch_idx)
        self.faults.remember(self.student, self.objective)
        measuring = self.balance is not None and self.balance.measuring
        encoded, student, teacher, batch = self.networks.encode(
            batch, self.current_epoch, key, eagerly=measuring
        )
        seed_step(*key)  # what methods draw is the same on all ranks
        terms = self.objective.relations(student, teacher, batch, sizes) if teacher else {}
        task = self.objective.task(student, batch.target, sum(sizes))
        if task is not None:
            terms = {"task": task, **terms}
        if not terms:
            raise ValueError("nothing to train on: no label is used and no method is given.")
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if self.balance is not None:
            if measuring:
                scale = scaler.get_scale() if scaler else 1.0
                norms = encoded.norms(list(terms.values()), scale=scale)
                self.balance.observe(dict(zip(terms, norms, strict=True)))
            terms = self.balance.scaled(terms)
        loss = torch.stack(list(terms.values())).sum()
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        encoded.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        average_gradients(parameters)
        norm = clip_gradients(parameters, self.settings.clip, scaler)
        checked = terms if scaler else {**terms, "gradient": norm}  # the scaler watches its own
        if self.faults.passes(checked, self.global_step, batch.index):
            optimizer.step()
            if self.ema is not None:
                self.ema.update_parameters(self.student)
        self.lr_schedulers().step()  # type: ignore[union-attr]
        return {"loss": loss.detach(), "terms": {k: v.detach() for k, v in terms.items()}}

    def average_statistics(self) -> None:
        """Give all ranks the same running statistics: each has seen its own samples."""
        for module in (self.student, self.ema):
            if module is not None:
                average_buffers(module)

    def on_validation_start(self) -> None:
        """Validate the same student on all ranks."""
        self.average_statistics()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the outputs of one batch of clean images."""
        self.broken |= dict.fromkeys(batch.broken)
        outputs = self.kept(as_input(batch.views[0]))
        logits = None if outputs.logits is None else outputs.logits.float().cpu()
        target = None if batch.target is None else batch.target.cpu()
        self.validated.append((Outputs(outputs.embedding.float().cpu(), logits), target))

    def on_validation_epoch_end(self) -> None:
        """Measure all validation rows at once; the ranks have consecutive shares of them."""
        outputs = join_outputs([outputs for outputs, _ in self.validated])
        targets = [target for _, target in self.validated if target is not None]
        self.validated.clear()
        embedding, logits = self._of_all_ranks(outputs.embedding), outputs.logits
        logits = None if logits is None else self._of_all_ranks(logits)
        target = self._of_all_ranks(torch.cat(targets)) if targets else None
        found = self.score(Outputs(embedding, logits), target)
        self.scores = {name: float(value) for name, value in found.items()}

    def _of_all_ranks(self, rows: Tensor) -> Tensor:
        return gather_rows(rows.to(self.device)).cpu() if ranks() > 1 else rows

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how many steps were left out, and the factors of the terms."""
        checkpoint["skipped"] = self.faults.skipped
        if self.balance is not None:
            checkpoint["balance"] = self.balance.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting the steps that were left out, and with the factors of the terms."""
        self.faults.skipped = checkpoint["skipped"]
        if self.balance is not None:
            self.balance.load_state_dict(checkpoint["balance"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Train student and methods' heads together."""
        optimizer = make_optimizer([self.student, self.objective], self.settings)
        schedule = make_schedule(optimizer, self.settings, steps_per_epoch=len(self.order))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule}}
