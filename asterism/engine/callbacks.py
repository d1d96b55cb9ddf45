"""What a training tells while it runs: metrics and progress."""

import sys
import time
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor

from asterism.distributed import is_first, mean_over_ranks, ranks
from asterism.engine.distiller import Distiller
from asterism.run import Run
from asterism.types import Batch


class Record(lightning.Callback):
    """Write metrics.jsonl: every term by name, speed, and what validation measured."""

    def __init__(self, run: Run, every: int) -> None:
        """Write to this run, a line each so many steps and each epoch."""
        self.run, self.every = run, every
        self.sums: dict[str, Tensor] = {}
        self.steps = self.samples = 0
        self.begun = self.step_ended = self.waited = 0.0

    def _start_clock(self, distiller: Distiller) -> None:
        self.begun = self.step_ended = time.perf_counter()
        self.samples, self.waited, distiller.networks.seconds = 0, 0.0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last line: a resumed run writes the same next line."""
        return {"sums": dict(self.sums), "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the sums of the checkpoint."""
        self.sums, self.steps = dict(state_dict["sums"]), state_dict["steps"]

    def on_train_start(self, trainer: Any, distiller: Any) -> None:
        """Start the clock."""
        self.sums = {name: value.to(distiller.device) for name, value in self.sums.items()}
        self._start_clock(distiller)

    def on_train_epoch_start(self, trainer: Any, distiller: Any) -> None:
        """Leave validation out of the clock."""
        self._start_clock(distiller)

    def on_train_batch_start(
        self, trainer: Any, distiller: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the time since the last step: the loader's."""
        self.waited += time.perf_counter() - self.step_ended

    def on_train_batch_end(
        self, trainer: Any, distiller: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Add up the terms; write a line from time to time."""
        if outputs:
            for name, value in {**outputs["terms"], "loss": outputs["loss"].detach()}.items():
                self.sums[name] = self.sums.get(name, 0) + value
            self.steps += 1
            self.samples += len(batch.index)
        if trainer.global_step % self.every == 0 or batch_idx + 1 == trainer.num_training_batches:
            self._write(trainer, distiller)
        self.step_ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, distiller: Any) -> None:
        """Write what a training that was cut short has not written yet."""
        self._write(trainer, distiller)

    def _write(self, trainer: Any, distiller: Distiller) -> None:
        if not self.steps:
            return
        # The methods' terms are the same on all ranks; of the task each has its share.
        sums = mean_over_ranks(torch.stack(list(self.sums.values()))) / self.steps
        means = dict(zip(self.sums, sums.tolist(), strict=True))
        seconds = time.perf_counter() - self.begun
        factors = {} if distiller.balance is None else distiller.balance.factors
        line = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            **{f"train/{name}": value for name, value in means.items()},
            **{f"weight/{name}": factor for name, factor in factors.items()},
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "images_per_second": round(self.samples * ranks() / seconds, 1),
            "data_share": round((self.waited + distiller.networks.seconds) / seconds, 4),
        }
        self._append(line)
        distiller.last_loss = means["loss"]
        self.sums, self.steps = {}, 0
        self._start_clock(distiller)

    def on_validation_end(self, trainer: Any, distiller: Any) -> None:
        """Write what validation measured."""
        if not trainer.sanity_checking:
            scores = {f"validation/{name}": value for name, value in distiller.scores.items()}
            self._append({"step": trainer.global_step, "epoch": trainer.current_epoch, **scores})

    def _append(self, line: dict[str, Any]) -> None:
        if is_first():
            self.run.append_metrics(line)


class Progress(lightning.Callback):
    """A line per epoch, on standard error."""

    def __init__(self) -> None:
        """Start the clock at the first epoch."""
        self.begun = self.epochs_before = 0.0

    def on_train_start(self, trainer: Any, distiller: Any) -> None:
        """Start the clock."""
        self.begun, self.epochs_before = time.perf_counter(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: Any, distiller: Any) -> None:
        """Print the epoch's loss and scores and the time left."""
        if not is_first():
            return
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs
        scores = "  ".join(f"{name} {value:.4g}" for name, value in distiller.scores.items())
        seconds = time.perf_counter() - self.begun
        left = seconds / (epoch - self.epochs_before) * (epochs - epoch)
        print(
            f"epoch {epoch}/{epochs}  loss {distiller.last_loss:.4g}  {scores}  "
            f"{seconds:.0f} s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
