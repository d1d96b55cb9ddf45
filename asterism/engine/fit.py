"""`fit()`: train a student and give back its best state."""

import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from asterism.augment import Views
from asterism.data import Data, Loader, default_workers
from asterism.data.known import Lookup
from asterism.data.loading import Order
from asterism.data.ordering import training_order
from asterism.distributed import from_all, is_first
from asterism.engine.balance import Balance
from asterism.engine.callbacks import Progress, Record
from asterism.engine.checkpoints import Checkpoints, latest_state, read_state
from asterism.engine.distiller import Distiller, Score
from asterism.engine.settings import Settings
from asterism.methods.base import Method
from asterism.relations.budget import relation_memory
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
        seconds_per_step: Duration of a step, validation and checkpoints included; None if the run
            was resumed when all steps were done.
        seconds: Duration of this process's share of the training.
        skipped: Steps that were left out: not finite.
        broken: Samples that could not be read, by name.
        balance: Factors of the terms and what they follow from; None for the weights as given.
    """

    student: nn.Module
    score: float
    steps: int
    seconds: float
    seconds_per_step: float | None
    skipped: int
    broken: tuple[str, ...]
    balance: Balance | None


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
    views: Views | None,
    known: Lookup | None = None,
    anchors: tuple[Samples, Outputs] | None = None,
) -> Fitted:
    """Train the student and keep its checkpoints and metrics in the run folder.

    Args:
        student: The network that is trained.
        teacher: Its teacher, or None.
        methods: The methods, set up.
        data: The data.
        run: The run folder, locked.
        settings: How to train.
        score: What validation measures, see `Distiller`.
        use_labels: Whether the task loss is part of the objective.
        resume: Go on from the latest checkpoint, if there is one.
        views: What makes the training views; None leaves samples as they come.
        known: The teacher's outputs where they need not be computed: no teacher is run then.
        anchors: The anchor samples, clean, and what the teacher returns for them.

    Raises:
        ValueError: If the settings do not fit the machine.
    """
    source = data.source
    workers = default_workers(source, settings.workers)
    if min(len(data.train), len(data.validation)) < settings.processes:
        raise ValueError(
            f"{len(data.train)} training and {len(data.validation)} validation samples are too few "
            f"for {settings.processes} devices: each needs one at least."
        )
    size = settings.batch_size
    order = training_order(
        data.train,
        settings.samples_per_step,
        seed=settings.seed,
        targets=source.targets,
        per_class=settings.samples_per_class,
        shard=True,
    )
    rest = Order(data.validation, size, seed=None, shard=True)
    train = Loader(source, order, workers=workers)
    validation = Loader(data.validation_source or source, rest, workers=workers)
    distiller = Distiller(
        student,
        teacher,
        methods,
        settings=settings,
        views=views,
        score=score,
        use_labels=use_labels,
        order=order,
        known=known,
        anchors=anchors,
    )
    begun = time.perf_counter()
    saved = latest_state(run.checkpoints) if resume else None
    before, position = (0, (0, 0)) if saved is None else _reached(saved[1])
    order.begin(*position)
    if is_first():
        run.cut_metrics(before)
    with quiet(), relation_memory(settings.relation_memory):
        checkpoints = Checkpoints(run.checkpoints, settings)
        trainer = _trainer(settings, [Record(run, settings.log_every), checkpoints])
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(
                distiller,
                train,
                validation,
                ckpt_path=None if saved is None else str(saved[0]),
                weights_only=True,
            )
        except BaseException as error:
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signal.SIGKILL)  # ranks that would wait for this one
            if type(error) is SystemExit and trainer.interrupted:
                # What Lightning makes of Ctrl-C, which it also switches off.
                signal.signal(signal.SIGINT, interrupt)
                raise KeyboardInterrupt from error
            raise
    distiller.faults.refuse_all(trainer.global_step)
    broken = {name: None for names in from_all(list(distiller.broken)) for name in names}
    kept = _kept(run.checkpoints, settings)
    distiller.cpu().load_state_dict(kept["state_dict"])
    seconds, steps = time.perf_counter() - begun, trainer.global_step - before
    return Fitted(
        student=distiller.kept.eval(),
        score=float(kept["callbacks"]["Checkpoints"][settings.keep]),
        steps=trainer.global_step,
        seconds=seconds,
        seconds_per_step=seconds / steps if steps else None,
        skipped=distiller.faults.skipped,
        broken=tuple(broken),
        balance=distiller.balance,
    )


def _reached(state: dict[str, Any]) -> tuple[int, tuple[int, int]]:
    """Return the steps that a checkpoint has behind it, and at which epoch and batch it goes on."""
    epoch, batch = state["callbacks"]["Checkpoints"]["position"]
    return int(state["global_step"]), (int(epoch), int(batch))


def _kept(folder: Path, settings: Settings) -> dict[str, Any]:
    if settings.keep == "best":
        return read_state(folder / "best.ckpt")
    found = latest_state(folder)
    if found is None:
        raise FileNotFoundError(f"{folder} has no checkpoint any more.")
    return found[1]


def _trainer(settings: Settings, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    terminal = sys.stderr.isatty()
    if settings.processes > 1 and os.environ.get("TORCHELASTIC_RUN_ID"):
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = settings.processes // devices
    else:
        devices, nodes = settings.devices, settings.nodes
    return lightning.Trainer(
        accelerator="gpu" if settings.device.type == "cuda" else "cpu",
        devices=devices,
        num_nodes=nodes,
        strategy=Replicas() if settings.processes > 1 else "auto",
        precision=PRECISION[settings.precision],  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        max_steps=settings.limit_steps or -1,
        callbacks=[*callbacks, RichProgressBar() if terminal else Progress()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=terminal,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


class Replicas(DDPStrategy):
    """The same student in every process, without DDP's wrapper.

    The wrapper reduces gradients during one backward pass and needs a gradient for every
    parameter. A step here has two passes, a rank may have no samples, and a head no gradient: the
    engine averages by itself, once for each step.
    """

    def configure_ddp(self) -> None:
        """Begin with the first rank's weights everywhere."""
        assert self.model is not None
        for tensor in [*self.model.parameters(), *self.model.buffers()]:
            torch.distributed.broadcast(tensor.detach(), src=0)


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
        # In half precision the first steps of the optimiser may be left out by the scaler.
        warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler")

    def __exit__(self, *error: object) -> None:
        """Restore."""
        self.warnings.__exit__(*error)  # type: ignore[arg-type]
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
