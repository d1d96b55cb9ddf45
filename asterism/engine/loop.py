"""`fit()`: train a student and give back its best state."""

import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from asterism.data import Loader, Order, default_workers, training_order
from asterism.distributed import any_rank, from_all, gather_rows, is_first, ranks
from asterism.engine.balance import Balance
from asterism.engine.checkpoints import Checkpoints
from asterism.engine.processes import Preempted, accelerator_of
from asterism.engine.recording import Recording
from asterism.engine.state import State
from asterism.engine.step import train_step
from asterism.engine.training import Training
from asterism.models import evaluating
from asterism.relations.budget import relation_memory
from asterism.run import Run
from asterism.settings import Settings
from asterism.types import Outputs, as_input, batch_on_device, join_outputs
from asterism.words import share, tell


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
        remarks: What went otherwise than it should, in sentences.
        balance: Factors of the terms and what they follow from; None for the weights as given.
    """

    student: nn.Module
    score: float
    steps: int
    seconds: float
    seconds_per_step: float | None
    skipped: int
    broken: tuple[str, ...]
    remarks: tuple[str, ...]
    balance: Balance | None


def fit(training: Training, run: Run, *, resume: bool = False) -> Fitted:
    """Train the student and keep its checkpoints and metrics in the run folder.

    Args:
        training: What is trained.
        run: The run folder, locked.
        resume: Go on from the latest checkpoint, if there is one.

    Raises:
        ValueError: If the settings do not fit the machine, or a step is not finite.
        Preempted: If the process was asked to end; the state is saved.
    """
    settings = training.settings
    if training.score is None:
        raise ValueError("a training needs a score, which selects its best epoch.")
    begun = time.perf_counter()
    accelerator = accelerator_of(settings, run)
    batches = Batches(training)
    state = State(training, accelerator, batches=len(batches.order))
    checkpoints = Checkpoints(run.checkpoints, settings, training=run.training())
    recording = _recording(training, run, accelerator, batches)
    saved = checkpoints.latest() if resume else None
    if saved is not None:
        state.load_state_dict(saved)
        recording.load_state_dict(saved["recording"], state.device)
    before = state.step
    if is_first():
        run.cut_metrics(before)
    state.train()
    with _asked_to_end() as wish, relation_memory(settings.relation_memory):
        try:
            while state.epoch < settings.epochs and not _enough(state):
                recording.start_clock()
                _train_epoch(state, batches, recording, checkpoints, wish, accelerator)
                complete = state.batch == len(batches.order)
                state.scores = _validate(training, state, batches, accelerator) if complete else {}
                _close_epoch(state, recording, checkpoints)
                if any_rank(bool(wish), state.device) and state.epoch < settings.epochs:
                    _end(state, run)
        finally:
            recording.close()
    state.faults.refuse_all(state.step)
    kept = checkpoints.kept()
    state.load_weights(kept)
    seconds = time.perf_counter() - begun
    steps = state.step - before
    broken = {name: None for names in from_all(list(state.broken)) for name in names}
    return Fitted(
        student=state.kept.cpu().eval(),
        score=float(kept["last"]),  # of the epoch that is kept
        steps=state.step,
        seconds=seconds,
        seconds_per_step=seconds / steps if steps else None,
        skipped=state.faults.skipped,
        broken=tuple(broken),
        remarks=_remarks(training, state, recording),
        balance=state.balance,
    )


def _remarks(training: Training, state: State, recording: Recording) -> tuple[str, ...]:
    """Return in sentences what whoever uses the student must know of its training."""
    settings = training.settings
    remarks = [recording.growth] if recording.growth else []
    chose = settings.keep == "best" and settings.epochs > 1 and state.scores
    if chose and state.best is not None and state.best <= training.guess:
        name, rows = next(iter(state.scores)), len(training.data.validation)
        remarks.append(
            f"no epoch was chosen: on {rows} validation rows {name} stayed within what a guess may "
            f"reach, {share(min(1.0, training.guess))}, so the last epoch is kept. More of them "
            "tell more: --validation-share, or --validation-data."
        )
    return tuple(remarks)


class Batches:
    """The batches of a training: shuffled ones to train on, and all validation rows.

    Attributes:
        order: The order of the training batches.
        train: What fetches them.
        validation: What fetches the validation rows; the ranks have consecutive shares of them.
    """

    def __init__(self, training: Training) -> None:
        """Set up orders and loaders.

        Raises:
            ValueError: If there are fewer samples than devices.
        """
        data, settings = training.data, training.settings
        source = data.source
        _refuse_too_few(len(data.train), len(data.validation), settings)
        how: dict[str, Any] = {
            "workers": default_workers(source, settings.workers),
            "pinned": settings.device.type == "cuda",
        }
        self.order = training_order(
            data.train,
            settings.samples_per_step,
            seed=settings.seed,
            targets=source.targets,
            per_class=settings.samples_per_class,
            steps=settings.steps_per_epoch,
            shard=True,
            blocks=source.blocks,
        )
        self.train = Loader(source, self.order, **how)
        rest = Order(data.validation, settings.batch_size, seed=None, shard=True)
        self.validation = Loader(data.validation_source or source, rest, **how)


def _refuse_too_few(training: int, validation: int, settings: Settings) -> None:
    if min(training, validation) < settings.processes:
        raise ValueError(
            f"{training} training and {validation} validation samples are too few "
            f"for {settings.processes} devices: each needs one at least."
        )


def _recording(
    training: Training, run: Run, accelerator: Accelerator, batches: Batches
) -> Recording:
    settings = training.settings
    if settings.log is not None:
        accelerator.init_trackers("asterism", config=_flat(training.request.plain()))
    return Recording(
        run,
        accelerator,
        training.request.callbacks,
        every=settings.log_every,
        epochs=settings.epochs,
        batches=len(batches.order),
    )


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Return a plain request as trackers take it: numbers and texts."""
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in config.items()
    }


def _train_epoch(
    state: State,
    batches: Batches,
    recording: Recording,
    checkpoints: Checkpoints,
    wish: "list[int]",
    accelerator: Accelerator,
) -> None:
    """Train from where the state stands to the end of its epoch, or as many steps as are wanted."""
    batches.order.begin(state.epoch, state.batch)
    state.encoder.seconds = 0.0
    for fetched in batches.train:
        recording.fetched()
        batch = batch_on_device(fetched, state.device)
        key = (state.settings.seed, state.epoch * len(batches.order) + state.batch)
        with _arithmetic(accelerator):
            number = batches.order.passes(state.batch)
            terms = train_step(state, batch, key, number)
        recording.step(
            state.moment,
            terms,
            batch=state.batch,
            samples=len(batch.index),
            figures=state.figures(),
            seconds=state.encoder.seconds,
        )
        if not recording.steps:  # a line was written
            state.encoder.seconds = 0.0
        state.batch += 1
        if _enough(state) or state.batch == len(batches.order):
            return  # the end of the epoch saves
        ending = any_rank(bool(wish), state.device)
        if checkpoints.due(state.batch, state.device) or ending:
            _save(state, recording, checkpoints)
        if ending:
            _end(state, recording.run)


def _enough(state: State) -> bool:
    limit, patience = state.settings.limit_steps, state.settings.patience
    return (limit is not None and state.step >= limit) or (
        patience is not None and state.waited >= patience
    )


def _close_epoch(state: State, recording: Recording, checkpoints: Checkpoints) -> None:
    """Write what is left to say of an epoch, and keep its state if it is the best."""
    recording.write(state.moment, state.figures(), state.encoder.seconds)
    if state.scores:
        recording.validation(state.moment, state.scores)
    moment = state.moment
    state.last = next(iter(state.scores.values()), 0.0)
    worth = max(state.guess, state.last)  # of epochs that a guess may reach the last is kept
    best = state.best is None or worth >= state.best
    state.waited = 0 if state.best is None or worth > state.best else state.waited + 1
    if best:
        state.best = worth
    state.epoch += 1
    state.batch = 0
    _save(state, recording, checkpoints, best=best)
    recording.epoch(moment, state.scores)


def _save(
    state: State, recording: Recording, checkpoints: Checkpoints, *, best: bool = False
) -> None:
    state.faults.settle()
    state.average_statistics()
    checkpoints.save({**state.state_dict(), "recording": recording.state_dict()}, best=best)


@torch.no_grad()
def _validate(
    training: Training, state: State, batches: Batches, accelerator: Accelerator
) -> dict[str, float]:
    """Return what all validation rows say of the student; the ranks have consecutive shares."""
    state.faults.settle()
    state.average_statistics()  # of the same student on all ranks
    outputs: list[Outputs] = []
    targets: list[Tensor] = []
    with evaluating(state.kept):
        for fetched in batches.validation:
            batch = batch_on_device(fetched, state.device)
            state.broken |= dict.fromkeys(batch.broken)
            with _arithmetic(accelerator):
                embedding, logits = state.kept(as_input(batch.views[0]))
            logits = None if logits is None else logits.float().cpu()
            outputs.append(Outputs(embedding.float().cpu(), logits))
            if batch.target is not None:
                targets.append(batch.target.cpu())
    embedding, logits = join_outputs(outputs)
    of_all = Outputs(
        _of_all_ranks(embedding, state),
        None if logits is None else _of_all_ranks(logits, state),
    )
    target = _of_all_ranks(torch.cat(targets), state) if targets else None
    assert training.score is not None
    return {name: float(value) for name, value in training.score(of_all, target).items()}


def _of_all_ranks(rows: Tensor, state: State) -> Tensor:
    return gather_rows(rows.to(state.device)).cpu() if ranks() > 1 else rows


@contextmanager
def _arithmetic(accelerator: Accelerator) -> Iterator[None]:
    with accelerator.autocast(), warnings.catch_warnings():
        # In half precision the first steps of the optimiser may be left out by the scaler.
        warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler")
        yield


@contextmanager
def _asked_to_end() -> "Iterator[list[int]]":
    """Give a list that is not empty any more when the process is asked to end (SIGTERM)."""
    wish: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: wish.append(number))
    try:
        yield wish
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(state: State, run: Run) -> None:
    if is_first():
        tell(
            f"asterism: asked to end (SIGTERM) at step {state.step}; the state is "
            f"saved: go on with --out {run.path} --resume."
        )
    raise Preempted
