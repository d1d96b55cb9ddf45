"""What a training tells while it runs: metrics, trackers, callbacks and progress."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from asterism.distributed import gather_rows, is_first, mean_over_ranks, rank, ranks
from asterism.run import Run
from asterism.words import printable, share, tell


@dataclass(frozen=True)
class Moment:
    """Where a training stands.

    Attributes:
        step: Steps of the optimiser so far.
        epoch: Number of the epoch, from 0.
        student: The network that is trained; not to be changed.
    """

    step: int
    epoch: int
    student: nn.Module


class Callback:
    """What a user wants to be called with; override what is wanted.

    Only the first process calls. What a callback raises ends the training; its state is kept as of
    the last checkpoint.
    """

    def on_step(self, moment: Moment, terms: Mapping[str, Tensor]) -> None:
        """Come after a step, with its weighted terms and their sum `loss`, where they are."""

    def on_validation(self, moment: Moment, scores: Mapping[str, float]) -> None:
        """Come after validation, with what it measured."""

    def on_epoch(self, moment: Moment, scores: Mapping[str, float]) -> None:
        """Come when an epoch is over and its state is saved."""


# A loss that has come to so many times its first, or to so much where that was below 1, will not
# come back by itself.
GROWN = 100


class Recording:
    """Writes metrics.jsonl, sends the same to trackers, calls callbacks, shows progress.

    Attributes:
        sums: Sums of the terms since the last line.
        steps: Steps since then.
    """

    def __init__(
        self,
        run: Run,
        accelerator: Accelerator,
        callbacks: Sequence[Callback],
        *,
        every: int,
        epochs: int,
        batches: int,
    ) -> None:
        """Write to this run.

        Args:
            run: The run folder.
            accelerator: Whose trackers get the figures.
            callbacks: Who else wants to know.
            every: Steps between lines.
            epochs: Epochs of the training.
            batches: Batches of an epoch.
        """
        self.run = run
        self.trackers = accelerator.trackers if is_first() else []
        self.callbacks = callbacks if is_first() else ()
        self.every = every
        self.batches = batches
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.last_loss = float("nan")
        self.first_loss: Tensor | float | None = None  # of this rank, until a line is written
        self.told_growth = False
        self.display = _Display(epochs, batches)
        self.start_clock()

    def start_clock(self) -> None:
        """Begin to count; what lies before, as validation, is left out."""
        self.begun = self.step_ended = time.perf_counter()
        self.samples = 0
        self.waited = 0.0

    def fetched(self) -> None:
        """Count the time since the last step: the loader's."""
        self.waited += time.perf_counter() - self.step_ended

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last line: a resumed run writes the same next line.

        Each rank has its own, a row of `sums`: of the task each sees its share.
        """
        sums = torch.stack(list(self.sums.values())) if self.sums else torch.empty(0)
        rows = gather_rows(sums[None]) if self.sums else sums
        first = self.first_loss if isinstance(self.first_loss, float) else None
        return {"names": list(self.sums), "sums": rows, "steps": self.steps, "first": first}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on with the sums of a checkpoint."""
        own = state["sums"][rank()].to(device) if state["names"] else ()
        self.sums = dict(zip(state["names"], own, strict=True))
        self.steps = state["steps"]
        self.first_loss = state.get("first")  # states of older versions have none

    def step(
        self,
        moment: Moment,
        terms: Mapping[str, Tensor],
        *,
        batch: int,
        samples: int,
        figures: Mapping[str, float],
        seconds: float,
    ) -> None:
        """Add up the terms of a step; write a line from time to time.

        Args:
            moment: Where the training stands.
            terms: The terms and their sum; none where no rank had a sample.
            batch: Number of the batch in its epoch.
            samples: Samples of this rank.
            figures: What else the line says: weights, learning rate.
            seconds: Time that went into views since the clock was started.
        """
        if terms:
            for name, value in terms.items():
                self.sums[name] = self.sums.get(name, 0) + value
            if self.first_loss is None:
                self.first_loss = terms["loss"].detach()
            self.steps += 1
            self.samples += samples
            for callback in self.callbacks:
                callback.on_step(moment, terms)
        if moment.step % self.every == 0 or batch + 1 == self.batches:
            self.write(moment, figures, seconds)
        self.step_ended = time.perf_counter()
        self.display.step(moment.epoch, batch, self.last_loss)

    def write(self, moment: Moment, figures: Mapping[str, float], seconds: float) -> None:
        """Write a line of what has been added up, if anything has."""
        if not self.steps:
            return
        # The methods' terms are the same on all ranks; of the task each has its share.
        sums = mean_over_ranks(torch.stack(list(self.sums.values()))) / self.steps
        means = dict(zip(self.sums, sums.tolist(), strict=True))
        passed = time.perf_counter() - self.begun
        self._append(
            {
                "step": moment.step,
                "epoch": moment.epoch,
                **{f"train/{name}": value for name, value in means.items()},
                **figures,
                "samples_per_second": round(self.samples * ranks() / passed, 1),
                "data_share": round((self.waited + seconds) / passed, 4),
            }
        )
        self.last_loss = means["loss"]
        if isinstance(self.first_loss, Tensor):
            self.first_loss = float(mean_over_ranks(self.first_loss))
        self.sums = {}
        self.steps = 0
        self.start_clock()

    def validation(self, moment: Moment, scores: Mapping[str, float]) -> None:
        """Write what validation measured."""
        named = {f"validation/{name}": value for name, value in scores.items()}
        self._append({"step": moment.step, "epoch": moment.epoch, **named})
        for callback in self.callbacks:
            callback.on_validation(moment, scores)

    def epoch(self, moment: Moment, scores: Mapping[str, float]) -> None:
        """Tell that an epoch is over."""
        self.display.epoch(moment.epoch, self.last_loss, scores)
        if self.growth and not self.told_growth and is_first():
            self.told_growth = True
            tell(f"asterism: {self.growth}")
        for callback in self.callbacks:
            callback.on_epoch(moment, scores)

    @property
    def growth(self) -> str | None:
        """Return in words that the loss has run away; None if it has not."""
        first = self.first_loss
        if not isinstance(first, float) or not self.last_loss > GROWN * max(1.0, abs(first)):
            return None
        return (
            f"the loss has grown from {first:.3g} at the first step to {self.last_loss:.3g}: this "
            "training runs away. Lower --lr, to a tenth at first, or clip the gradient with "
            "--clip 1."
        )

    def close(self) -> None:
        """Finish what trackers and the screen still have to show."""
        self.display.close()
        for tracker in self.trackers:
            tracker.finish()

    def _append(self, line: dict[str, Any]) -> None:
        if is_first():
            self.run.append_metrics(line)
        figures = {name: value for name, value in line.items() if name != "step"}
        for tracker in self.trackers:
            tracker.log(figures, step=line["step"])


class _Display:
    """A bar for the whole run on a terminal, a line per epoch elsewhere; on standard error."""

    def __init__(self, epochs: int, batches: int) -> None:
        self.epochs = epochs
        self.batches = batches
        self.score = ""
        self.begun = time.perf_counter()
        self.epochs_before: int | None = None
        self.bar: Progress | None = None
        if sys.stderr.isatty() and is_first():
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:.0f} %"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )
            self.bar = Progress(*columns, console=Console(stderr=True))
            self.task = self.bar.add_task("", total=epochs * batches)
            self.bar.start()

    def step(self, epoch: int, batch: int, loss: float) -> None:
        """Move the bar."""
        if self.epochs_before is None:
            self.epochs_before = epoch
        if self.bar is not None:
            said = f"epoch {epoch + 1}/{self.epochs}  loss {loss:.4g}  {self.score}"
            done = epoch * self.batches + batch + 1
            self.bar.update(self.task, completed=done, description=printable(said))

    def epoch(self, epoch: int, loss: float, scores: Mapping[str, float]) -> None:
        """Print the epoch's loss and scores and the time left."""
        self.score = "  ".join(f"{name} {share(value)}" for name, value in scores.items())
        if self.bar is not None or not is_first():
            return
        done = epoch + 1
        seconds = time.perf_counter() - self.begun
        left = seconds / (done - (self.epochs_before or 0)) * (self.epochs - done)
        tell(
            f"epoch {done}/{self.epochs}  loss {loss:.4g}  {self.score}  "
            f"{seconds:.0f} s, {left:.0f} s left"
        )

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.stop()
