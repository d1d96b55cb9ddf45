"""What a training writes while it runs: metrics, checkpoints, progress."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor

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
        self.begun = self.step_ended = time.perf_counter()

    def _reset(self, distiller: Distiller) -> None:
        self.sums, self.steps, self.samples = {}, 0, 0
        self.begun = self.step_ended = time.perf_counter()
        distiller.seconds_waiting = 0.0

    def on_train_epoch_start(self, trainer: Any, distiller: Any) -> None:
        """Start the clock."""
        self._reset(distiller)

    def on_train_batch_start(
        self, trainer: Any, distiller: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the time since the last step: the loader's."""
        distiller.seconds_waiting += time.perf_counter() - self.step_ended

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
        means = {name: float(value) / self.steps for name, value in self.sums.items()}
        seconds = time.perf_counter() - self.begun
        line = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            **{f"train/{name}": value for name, value in means.items()},
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "images_per_second": round(self.samples / seconds, 1),
            "data_share": round(distiller.seconds_waiting / seconds, 4),
        }
        self.run.append_metrics(line)
        distiller.last_loss = means["loss"]
        self._reset(distiller)

    def on_validation_end(self, trainer: Any, distiller: Any) -> None:
        """Write what validation measured."""
        if not trainer.sanity_checking:
            scores = {f"validation/{name}": value for name, value in distiller.scores.items()}
            self.run.append_metrics(
                {"step": trainer.global_step, "epoch": trainer.current_epoch, **scores}
            )


class Checkpoints(lightning.Callback):
    """Keep the last and the best state of a training, written atomically."""

    def __init__(self, folder: Path) -> None:
        """Write to this folder."""
        self.folder = folder
        self.best: float | None = None
        self.last = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the best and the last score so far, for the checkpoint."""
        return {"best": self.best, "last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the scores of the checkpoint."""
        self.best, self.last = state_dict["best"], state_dict["last"]

    def on_save_checkpoint(self, trainer: Any, distiller: Any, checkpoint: dict[str, Any]) -> None:
        """Add the random state (dropout draws from it)."""
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, trainer: Any, distiller: Any, checkpoint: dict[str, Any]) -> None:
        """Restore the random state."""
        torch.set_rng_state(checkpoint["random_state"])

    def on_train_epoch_end(self, trainer: Any, distiller: Any) -> None:
        """Save this epoch's state, and keep it if it is the best."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.last = next(iter(distiller.scores.values()), 0.0)
        if self.best is None or self.last >= self.best:
            self.best = self.last
            self._save(trainer, "best.ckpt")
        self._save(trainer, "last.ckpt")

    def _save(self, trainer: Any, name: str) -> None:
        temporary = self.folder / f".{name}"
        trainer.save_checkpoint(temporary)
        os.replace(temporary, self.folder / name)


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
