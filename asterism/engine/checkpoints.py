"""Checkpoints: written atomically, the last few and the best, and what to go on from."""

import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch

from asterism.distributed import any_rank, is_first
from asterism.engine.distiller import Distiller
from asterism.engine.settings import Settings
from asterism.types import Batch


class Preempted(SystemExit):
    """The training was asked to end (SIGTERM) and has saved its state."""


class Checkpoints(lightning.Callback):
    """Keep the latest states of a training and the best one.

    A state is saved after each epoch, within epochs every so many minutes or steps, and when the
    process is asked to end, as clusters do before they take a machine away.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Write to this folder."""
        self.folder, self.settings = folder, settings
        self.best: float | None = None
        self.last = 0.0
        self.position = (0, 0)
        self.saved_at = time.monotonic()
        self.asked_to_end = False
        self.handler_before: Any = None

    def state_dict(self) -> dict[str, Any]:
        """Return the best and the last score so far, and where the training stands."""
        return {"best": self.best, "last": self.last, "position": list(self.position)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the scores of the checkpoint."""
        self.best, self.last = state_dict["best"], state_dict["last"]

    def on_train_start(self, trainer: Any, distiller: Any) -> None:
        """Listen for SIGTERM instead of Lightning, which would end without saving."""
        self.saved_at = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self.handler_before = signal.signal(signal.SIGTERM, self._ask_to_end)

    def _ask_to_end(self, *signalled: Any) -> None:
        self.asked_to_end = True

    def teardown(self, trainer: Any, distiller: Any, stage: str) -> None:
        """Leave SIGTERM to whom it belonged."""
        if self.handler_before is not None:
            signal.signal(signal.SIGTERM, self.handler_before)
            self.handler_before = None

    def on_train_batch_end(
        self, trainer: Any, distiller: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Save within an epoch when it is time, or when the process is asked to end."""
        done = batch_idx + 1
        if done == trainer.num_training_batches:
            return  # the end of the epoch saves
        every = self.settings.checkpoint_steps
        minutes = (time.monotonic() - self.saved_at) / 60
        due = done % every == 0 if every else minutes >= self.settings.checkpoint_minutes
        ending = any_rank(self.asked_to_end, distiller.device)
        if ending or any_rank(due and is_first(), distiller.device):
            self.position = (trainer.current_epoch, done)
            self._save(trainer, distiller)
        if ending:
            self._end(trainer)

    def on_train_epoch_end(self, trainer: Any, distiller: Any) -> None:
        """Save this epoch's state, and keep it if it is the best."""
        self.last = next(iter(distiller.scores.values()), 0.0)
        best = self.best is None or self.last >= self.best
        if best:
            self.best = self.last
        self.position = (trainer.current_epoch + 1, 0)
        self._save(trainer, distiller, best=best)
        if any_rank(self.asked_to_end, distiller.device) and not trainer.fit_loop.done:
            self._end(trainer)

    def _end(self, trainer: Any) -> None:
        if is_first():
            print(
                f"asterism: asked to end (SIGTERM) at step {trainer.global_step}; the state is "
                "saved, and the same command with --resume goes on.",
                file=sys.stderr,
            )
        raise Preempted(128 + signal.SIGTERM)

    def _save(self, trainer: Any, distiller: Distiller, *, best: bool = False) -> None:
        distiller.average_statistics()
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / ".unfinished.ckpt"
        try:
            trainer.save_checkpoint(temporary)
            if is_first():
                if best:  # first: a state that says it is the best must not be without it
                    self._copy(temporary, self.folder / "best.ckpt")
                os.replace(temporary, self.folder / f"step-{trainer.global_step:08}.ckpt")
                for old in states(self.folder)[self.settings.checkpoints_kept :]:
                    old.unlink()
        except (OSError, RuntimeError) as error:  # torch wraps what the disk says
            temporary.unlink(missing_ok=True)
            free = shutil.disk_usage(self.folder).free / 2**20
            raise OSError(
                f"cannot write a checkpoint into {self.folder} ({free:.0f} MB free): {error}. The "
                "states before are kept: make room, and go on with --resume."
            ) from error
        self.saved_at = time.monotonic()

    def _copy(self, file: Path, target: Path) -> None:
        link = self.folder / ".unfinished.best"
        link.unlink(missing_ok=True)
        try:
            os.link(file, link)
        except OSError:  # a file system without links
            shutil.copyfile(file, link)
        os.replace(link, target)


def states(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the latest first."""
    found = [p for p in folder.glob("step-*.ckpt") if re.fullmatch(r"step-\d+", p.stem)]
    return sorted(found, key=lambda p: int(p.stem[5:]), reverse=True)


def read_state(file: Path) -> dict[str, Any]:
    """Return what a checkpoint holds.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not {"state_dict", "callbacks"} <= state.keys():
            raise ValueError("it holds no state of a training")
        return state
    # Zip, pickle and torch raise many kinds of errors on damaged files.
    except Exception as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"the checkpoint {file} is damaged: {words[0]}.") from error


@torch.no_grad()
def latest_state(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the latest checkpoint that can be read; None if there is none.

    Raises:
        ValueError: If there are some and all are damaged.
    """
    files = states(folder)
    problems = []
    for file in files:
        try:
            state = read_state(file)
        except ValueError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            if is_first():
                print(f"asterism: {problem} Going on from {file.name}.", file=sys.stderr)
        return file, state
    if problems:
        raise ValueError(f"{' '.join(problems)} Start again with --overwrite.")
    return None
