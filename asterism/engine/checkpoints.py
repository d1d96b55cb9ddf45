"""Checkpoints: written atomically, the last few and the best, and what to go on from."""

import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from asterism.distributed import any_rank, is_first
from asterism.documents import refuse_irregular
from asterism.settings import Settings
from asterism.words import tell

# Version of what a checkpoint holds.
FORMAT = 2


class Checkpoints:
    """The folder of a training's states: the latest ones, and the best.

    A state is saved after each epoch, within epochs every so many minutes or steps, and when the
    process is asked to end, as clusters do before they take a machine away.
    """

    def __init__(self, folder: Path, settings: Settings, *, training: str | None) -> None:
        """Write to this folder.

        Args:
            folder: The folder.
            settings: How to train.
            training: The mark of the training (`Run.training`), by which it knows its states.
        """
        self.folder = folder
        self.settings = settings
        self.training = training
        self.saved_at = time.monotonic()

    def due(self, done: int, device: torch.device) -> bool:
        """Return whether it is time to save within an epoch, for all ranks alike.

        Args:
            done: Steps of the epoch.
            device: Where ranks exchange tensors.
        """
        every = self.settings.checkpoint_steps
        if every:
            return done % every == 0
        minutes = (time.monotonic() - self.saved_at) / 60
        return any_rank(minutes >= self.settings.checkpoint_minutes and is_first(), device)

    def save(self, state: dict[str, Any], *, best: bool = False) -> None:
        """Write a state; all ranks have the same, and the first one writes.

        Args:
            state: What a training goes on from, its `step` among it.
            best: Whether it is the best so far.

        Raises:
            OSError: If it cannot be written; the message says what to do.
        """
        if is_first():
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = self.folder / ".unfinished.ckpt"
            try:
                torch.save({**state, "format": FORMAT, "training": self.training}, temporary)
                if best:  # first: a state that says it is the best must not be without it
                    self._copy(temporary, self.folder / "best.ckpt")
                os.replace(temporary, self.folder / f"step-{state['step']:08}.ckpt")
                for old in states(self.folder)[self.settings.checkpoints_kept :]:
                    old.unlink()
            except (OSError, RuntimeError) as error:  # torch wraps what the disk says
                temporary.unlink(missing_ok=True)
                free = shutil.disk_usage(self.folder).free / 2**20
                raise OSError(
                    f"cannot write a checkpoint into {self.folder} ({free:.0f} MB free): {error}. "
                    "The states before are kept: make room, and go on with --resume."
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

    def latest(self) -> dict[str, Any] | None:
        """Return the state to go on from; None if there is none.

        Raises:
            ValueError: If there is one and it is damaged, or of another training; or the best is.
        """
        state = latest_state(self.folder, self.training)
        best = self.folder / "best.ckpt"
        if state is not None and self.settings.keep == "best" and best.exists():
            read_state(best, self.training)  # now, and not when the training is over
        return state

    def kept(self) -> dict[str, Any]:
        """Return the state that becomes the student.

        Raises:
            FileNotFoundError: If it is gone.
            ValueError: If it is damaged.
        """
        if self.settings.keep == "best":
            return read_state(self.folder / "best.ckpt", self.training)
        latest = latest_state(self.folder, self.training)
        if latest is None:
            raise FileNotFoundError(f"{self.folder} has no checkpoint any more.")
        return latest


def states(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the latest first."""
    files = [p for p in folder.glob("step-*.ckpt") if re.fullmatch(r"step-\d+", p.stem)]
    return sorted(files, key=lambda p: int(p.stem[5:]), reverse=True)


def read_state(file: Path, training: str | None) -> dict[str, Any]:
    """Return what a checkpoint holds.

    Args:
        file: The checkpoint.
        training: The mark of the training that must have written it.

    Raises:
        ValueError: If it is damaged, of another training, or of a version that this code does not
            know.
    """
    try:
        refuse_irregular(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not {"format", "pytorch-lightning_version"} & set(state):
            raise ValueError("it holds no state of a training")
    # Zip, pickle and torch raise many kinds of errors on damaged files.
    except Exception as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"the checkpoint {file} is damaged: {words[0]}.") from error
    if state.get("format") != FORMAT:
        raise OtherStateError(
            f"the checkpoint {file} was written by another version of asterism, whose trainings "
            "this one cannot go on with: finish it there, or start again with --overwrite."
        )
    if state.get("training") != training:  # neither has a mark in runs older than these
        raise OtherStateError(
            f"the checkpoint {file} was written by another training than that of this run "
            "folder: take it away, or start again with --overwrite."
        )
    return state


class OtherStateError(ValueError):
    """A checkpoint of another training, or of a version that this code does not know."""


def latest_state(folder: Path, training: str | None) -> dict[str, Any] | None:
    """Return the latest checkpoint that can be read; None if there is none.

    Raises:
        ValueError: If there are some and all are damaged, or one is of another training or version.
    """
    problems = []
    for file in states(folder):
        try:
            state = read_state(file, training)
        except OtherStateError:
            raise
        except ValueError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            if is_first():
                tell(f"asterism: {problem} Going on from {file.name}.")
        return state
    if problems:
        raise ValueError(f"{' '.join(problems)} Start again with --overwrite.")
    return None
