"""The one LightningModule: student, methods, and a teacher that is never part of it."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asterism.augment import Views, as_input
from asterism.data.cache import TeacherCache
from asterism.engine.optimisation import make_optimizer, make_schedule
from asterism.engine.settings import Settings
from asterism.methods.base import Method
from asterism.types import Batch, Outputs, Samples, join_views, on_device

Score = Callable[[Outputs, Tensor | None], dict[str, float]]


class Distiller(lightning.LightningModule):
    """Train a student on the task and on the terms of the methods.

    Attributes:
        student: The network that is trained.
        methods: The methods, set up.
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
        steps_per_epoch: int,
        caches: Sequence[TeacherCache] = (),
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
            steps_per_epoch: For the schedule.
            caches: The teacher's outputs on each view; none to run it every step.
            anchors: The anchor samples, clean, and what the teacher returns for them.
        """
        super().__init__()
        self.student = student
        self.methods = nn.ModuleList(methods)
        self.objectives = list(zip(methods, _term_names(methods), strict=True))
        self.ema = (
            AveragedModel(
                student,
                multi_avg_fn=get_ema_multi_avg_fn(settings.ema),  # type: ignore[no-untyped-call]
                use_buffers=True,
            )
            if settings.ema
            else None
        )
        # In a list, the teacher is no submodule: not trained, not switched to train mode by
        # Lightning, not in the checkpoint.
        self.teacher = [teacher.eval().requires_grad_(False)] if teacher else []
        self.settings, self.views, self.score = settings, views, score
        self.use_labels, self.caches = use_labels, caches
        self.anchors = anchors
        self.steps_per_epoch = steps_per_epoch
        # In a tuple as well: the student is a submodule already.
        self.called = (torch.compile(student) if settings.compile else student,)
        self.broken: dict[str, None] = {}  # unreadable samples by name, in order
        self.seconds_waiting = 0.0
        self.last_loss = float("nan")
        self.validated: list[tuple[Outputs, Tensor | None]] = []
        self.scores: dict[str, float] = {}

    @property
    def kept(self) -> nn.Module:
        """Return the network that is evaluated and kept."""
        return self.ema.module if self.ema is not None else self.student

    def setup(self, stage: str) -> None:
        """Move teacher and anchors beside the student."""
        for module in [self.student, *self.teacher]:
            module.to(self.device)
            if self.settings.channels_last:
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.anchors is not None:
            samples, taught = self.anchors
            logits = None if taught.logits is None else taught.logits.to(self.device)
            taught = Outputs(taught.embedding.to(self.device), logits)
            self.anchors = (on_device(samples, self.device), taught)

    def on_train_epoch_start(self) -> None:
        """Switch the student to train mode: Lightning keeps the mode that it finds."""
        self.student.train()
        self.methods.train()

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move the tensors of a batch."""
        target = None if batch.target is None else batch.target.to(device)
        views = tuple(on_device(view, device) for view in batch.views)
        return Batch(views, batch.index.to(device), target, batch.anchors, batch.broken)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any] | None:
        """Return the loss of one batch and its terms by name."""
        self.broken |= dict.fromkeys(batch.broken)
        if len(batch.index) == 0:
            return None
        views = self._views(batch)
        n = len(batch.index)
        run_student: Callable[[Samples], Outputs] = self.called[0]
        student = run_student(join_views(views))
        terms: dict[str, Tensor] = {}
        if self.use_labels and batch.target is not None and student.logits is not None:
            seen = len(views) if self.settings.train_views else 1
            logits = student.logits[: seen * n].float()
            task = F.cross_entropy(logits, batch.target.repeat(seen))
            terms["task"] = self.settings.task_weight * task
        if self.teacher:
            with torch.no_grad():
                taught = self._taught(views, batch.index)
            anchors = None
            if self.anchors is not None:
                anchors = (run_student(self.anchors[0]), self.anchors[1])
            for method, names in self.objectives:
                # A method of one view takes all views for samples, if all are for training.
                count = len(views) if self.settings.train_views else method.views
                rows, repeats = count * n, count // method.views
                seen_by = Batch(
                    views[:count],
                    batch.index.repeat(repeats),
                    None if batch.target is None else batch.target.repeat(repeats),
                    anchors,
                )
                found = method(_first(student, rows), _first(taught, rows), seen_by)
                for name, value in found.items():
                    terms[names.format(name)] = value
        if not terms:
            raise ValueError("nothing to train on: no label is used and no method is given.")
        loss = torch.stack(list(terms.values())).sum()
        if not loss.isfinite():
            raise ValueError(_not_finite(terms, self.global_step, batch.index))
        return {"loss": loss, "terms": {name: value.detach() for name, value in terms.items()}}

    def _taught(self, views: tuple[Samples, ...], index: Tensor) -> Outputs:
        teacher: Callable[[Samples], Outputs] = self.teacher[0]
        if not self.caches:
            return teacher(join_views(views))
        number = 0 if self.views is None else self.current_epoch
        found = [
            cache.outputs(number, index, teacher, view)
            for cache, view in zip(self.caches, views, strict=True)
        ]
        logits = [outputs.logits for outputs in found if outputs.logits is not None]
        embedding = torch.cat([outputs.embedding for outputs in found])
        return Outputs(embedding, torch.cat(logits) if logits else None)

    def _views(self, batch: Batch) -> tuple[Samples, ...]:
        begun = time.perf_counter()
        (samples,) = batch.views
        if self.views is None or isinstance(samples, list):
            views: tuple[Samples, ...] = (as_input(samples),)
        else:
            views = self.views(samples, batch.index, self.current_epoch)
        self.seconds_waiting += time.perf_counter() - begun
        return views

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Let the average follow."""
        if self.ema is not None:
            self.ema.update_parameters(self.student)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the outputs of one batch of clean images."""
        self.broken |= dict.fromkeys(batch.broken)
        if len(batch.index) == 0:
            return
        outputs = self.kept(as_input(batch.views[0]))
        logits = None if outputs.logits is None else outputs.logits.float().cpu()
        target = None if batch.target is None else batch.target.cpu()
        self.validated.append((Outputs(outputs.embedding.float().cpu(), logits), target))

    def on_validation_epoch_end(self) -> None:
        """Measure all validation rows at once."""
        outputs = [outputs for outputs, _ in self.validated]
        targets = [target for _, target in self.validated if target is not None]
        logits = [o.logits for o in outputs if o.logits is not None]
        joined = Outputs(
            torch.cat([o.embedding for o in outputs]), torch.cat(logits) if logits else None
        )
        self.scores = self.score(joined, torch.cat(targets) if targets else None)
        self.validated.clear()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Train student and methods' heads together."""
        optimizer = make_optimizer([self.student, *self.methods], self.settings)
        schedule = make_schedule(optimizer, self.settings, steps_per_epoch=self.steps_per_epoch)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _first(outputs: Outputs, rows: int) -> Outputs:
    logits = None if outputs.logits is None else outputs.logits[:rows]
    return Outputs(outputs.embedding[:rows], logits)


def _not_finite(terms: dict[str, Tensor], step: int, index: Tensor) -> str:
    bad = [name for name, value in terms.items() if not value.isfinite()]
    shown = ", ".join(map(str, index[:16].tolist())) + (", …" if len(index) > 16 else "")
    return (
        f"step {step}: the term {', '.join(bad) or 'sum'} is not finite. Lower --lr, or clip the "
        f"gradient with --clip 1. The batch: samples {shown}."
    )


def _term_names(methods: Sequence[Method]) -> list[str]:
    """Return patterns for the names of terms: several methods need their own name in front."""
    if len(methods) < 2:
        return ["{}"] * len(methods)
    classes = [type(method).__name__.lower() for method in methods]
    return [
        f"{name}{'' if classes.count(name) == 1 else classes[:i].count(name) + 1}/{{}}"
        for i, name in enumerate(classes)
    ]
