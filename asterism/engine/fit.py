"""`fit()`: train a student and give back its best state."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar
from torch import nn

from asterism.augment import Views
from asterism.data import Data, Loader
from asterism.data.cache import TeacherCache
from asterism.data.loading import Order, left_over, training_order
from asterism.engine.callbacks import Checkpoints, Progress, Record
from asterism.engine.distiller import Distiller, Score
from asterism.engine.settings import Settings
from asterism.methods.base import Method
from asterism.run import Run
from asterism.types import Outputs, Samples

PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True)
class Fitted:
    """What a training came to.

    Attributes:
        student: The student in the state that is kept, in eval mode, on the CPU.
        score: What validation measured of that state.
        steps: Steps trained in all.
        seconds_per_step: Duration of a step, validation and checkpoints included.
        seconds: Duration of this process's share of the training.
        broken: Samples that could not be read, by name.
    """

    student: nn.Module
    score: float
    steps: int
    seconds: float
    seconds_per_step: float
    broken: tuple[str, ...]


def fit(
    student: nn.Module,
    teacher: nn.Module | None,
    methods: Sequence[Method],
    data: Data,
    run: Run,
    *,
    settings: Settings,
    score: Score,
    use_labels: bool,
    resume: bool = False,
    cache: Callable[[Views], list[TeacherCache]] | None = None,
    anchors: tuple[Samples, Outputs] | None = None,
) -> Fitted:
    """Train the student and keep its checkpoints and metrics in the run folder.

    Raises:
        ValueError: If the settings do not fit the machine.
    """
    source = data.source
    workers = settings.workers
    if workers is None:
        workers = 0 if getattr(source, "images", None) is not None else min(8, os.cpu_count() or 1)
    order = training_order(
        data.train,
        settings.batch_size,
        seed=settings.seed,
        targets=source.targets,
        per_class=settings.samples_per_class,
    )
    rest = Order(data.validation, settings.batch_size, seed=None)
    train = Loader(source, order, workers=workers)
    validation = Loader(data.validation_source or source, rest, workers=workers)
    padding = 0 if source.image_shape is None else max(1, min(source.image_shape[1:]) // 8)
    padding = padding if settings.padding is None else settings.padding
    asked = (settings.train_views or "real").count("virtual")
    virtual = max([asked, *(method.views - 1 for method in methods)])
    if virtual and source.augmented:
        raise ValueError(
            "virtual views are made of uint8 images; this dataset gives float images, which are "
            "taken as they come."
        )
    views = Views(virtual, settings.view_seed, padding, source.flip)
    steps = len(order)
    distiller = Distiller(
        student,
        teacher,
        methods,
        settings=settings,
        views=None if source.augmented or source.kind == "text" else views,
        score=score,
        use_labels=use_labels,
        steps_per_epoch=steps,
        caches=() if cache is None else cache(views),
        anchors=anchors,
    )
    checkpoints = Checkpoints(run.checkpoints)
    begun = time.perf_counter()
    with quiet():
        trainer = _trainer(settings, [Record(run, settings.log_every), checkpoints])
        last = run.checkpoints / "last.ckpt"
        going_on = resume and last.exists()
        before, epoch = _reached(last) if going_on else (0, 0)
        order.set_epoch(epoch)  # workers fetch ahead before Lightning sets the epoch
        run.cut_metrics(before)
        trainer.fit(
            distiller,
            train,
            validation,
            ckpt_path=str(last) if going_on else None,
            weights_only=True,
        )
    file = run.checkpoints / f"{settings.keep}.ckpt"
    kept = torch.load(file, map_location="cpu", weights_only=True)
    distiller.cpu().load_state_dict(kept["state_dict"])
    seconds = time.perf_counter() - begun
    # A row that no batch had may be unreadable as well, and its name is wanted too.
    never = data.train[:0] if settings.limit_steps else left_over(order, settings.epochs)
    unseen = [
        name
        for rows in torch.split(never, 256)
        if len(rows)
        for name in source.__getitems__(rows.tolist()).broken
    ]
    return Fitted(
        student=distiller.kept.eval(),
        score=float(kept["callbacks"]["Checkpoints"][settings.keep]),
        steps=trainer.global_step,
        seconds=seconds,
        seconds_per_step=seconds / max(1, trainer.global_step - before),
        broken=tuple(distiller.broken | dict.fromkeys(unseen)),
    )


def _reached(checkpoint: os.PathLike[str]) -> tuple[int, int]:
    """Return the steps and the epochs that a checkpoint has behind it."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return int(saved["global_step"]), int(saved["epoch"]) + 1


def _trainer(settings: Settings, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    terminal = sys.stderr.isatty()
    accelerator = settings.accelerator
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    if settings.precision == "16" and on_cpu:
        raise ValueError("precision 16 needs a GPU: use bf16 or 32 on a CPU.")
    return lightning.Trainer(
        accelerator=accelerator,
        devices=settings.devices,
        precision=PRECISION[settings.precision],  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        max_steps=settings.limit_steps or -1,
        gradient_clip_val=settings.clip or None,
        callbacks=[*callbacks, RichProgressBar() if terminal else Progress()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=terminal,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


class quiet:  # noqa: N801 (used like a function)
    """Keep Lightning's tips and advice off the screen; errors pass."""

    def __enter__(self) -> None:
        """Silence."""
        self.loggers = [logging.getLogger(f"lightning.{x}") for x in ("pytorch", "fabric")]
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)
        self.warnings = warnings.catch_warnings()
        self.warnings.__enter__()
        warnings.filterwarnings("ignore", module=r"lightning\..*")

    def __exit__(self, *error: object) -> None:
        """Restore."""
        self.warnings.__exit__(*error)  # type: ignore[arg-type]
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
