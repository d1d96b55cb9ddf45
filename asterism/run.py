"""A run folder: this is the only reader and writer of its files."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from asterism.arrays import read_archive
from asterism.documents import (
    as_yaml,
    parse_json,
    read_file,
    read_json,
    read_yaml,
    replacing,
)
from asterism.names import located, nothing_at
from asterism.words import tell

if TYPE_CHECKING:
    from torch import Tensor

Read = TypeVar("Read")

FILES = (
    "aligner.json", "aligner.safetensors", "config.yaml", "evaluation.npz", "metrics.jsonl",
    "report.html", "report.json", "report.md", "result.json", "student.json",
    "student.safetensors", "tokenizer.json",
)  # fmt: skip

# Folder of what `asterism export` wrote, and what its files of a student are called.
EXPORTS = "export"
EXPORTED = {"student.json": "config.json", "student.safetensors": "model.safetensors"}


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why and what to do."""


class Interrupted(KeyboardInterrupt):
    """A training that was stopped (Ctrl-C) after it had begun to write.

    Attributes:
        run: The folder with which it goes on.
        before: Whether that run has not begun yet, as its baseline is trained first.
    """

    def __init__(self, run: Path, *, before: bool = False) -> None:
        """Name the folder."""
        how = "the same call and " if before else "resume=True and "
        super().__init__(f"go on with {how}out={str(run)!r}.")
        self.run = run
        self.before = before


class Run:
    """One training's folder."""

    def __init__(self, path: str | Path) -> None:
        """Point at a folder; nothing is read or made."""
        self.path = Path(located(path))
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"
        self.exports = self.path / EXPORTS

    @contextmanager
    def writing(
        self, *, resume: bool = False, overwrite: bool = False, first: bool = True
    ) -> Iterator[None]:
        """Hold the folder for one process; the lock dies with the process.

        Args:
            resume: Go on with the run that is there, if any.
            overwrite: Delete the run that is there, if any.
            first: Whether this process is the one that writes, of several that train together; the
                others pass.

        Raises:
            RunError: If another process holds it, if a run is there and neither argument is set,
                or if the folder holds something that is no run.
        """
        if not first:
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run folder {self.path}: {error.strerror}.") from error
        lock = FileLock(self._own(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(f"{self.path} is in use by a run that is still going on.") from error
        try:
            self._make_room(resume=resume, overwrite=overwrite)
            yield
        except KeyboardInterrupt as stopped:
            raise Interrupted(self.path) from stopped
        finally:
            lock.release()

    @property
    def page(self) -> Path | None:
        """Return the page on this run; None if there is none."""
        page = self.path / "report.html"
        return page if page.is_file() else None

    def in_use(self) -> bool:
        """Return whether a process holds the folder right now."""
        file = self.path / ".lock"
        if not file.exists():
            return False  # and looking must not make the folder
        try:
            with FileLock(self._own(".lock")).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def finished(self) -> bool:
        """Return whether the run has a result."""
        return (self.path / "result.json").exists()

    def begun(self) -> bool:
        """Return whether there is something to go on from: a result, or a checkpoint."""
        return self.finished() or any(self.checkpoints.glob("*.ckpt"))

    def _make_room(self, *, resume: bool, overwrite: bool) -> None:
        self._clear_unfinished()
        names = {p.name for p in self.path.iterdir()} - {".lock"}
        if not names or (resume and "config.yaml" in names):
            return
        foreign = names - {*FILES, "checkpoints", "logs", EXPORTS}
        if foreign or "config.yaml" not in names:
            raise RunError(
                f"{self.path} holds {sorted(foreign or names)[0]}, which is no part of a run: "
                "name an empty or a new folder."
            )
        if not overwrite:
            state = "a finished run" if "result.json" in names else "an unfinished run"
            raise RunError(
                f"{self.path} holds {state}: go on with --resume, replace it with --overwrite, or "
                "name another folder."
            )
        self._empty()

    def _clear_unfinished(self) -> None:
        """Delete what a process that was killed had begun to write, or to delete."""
        for name in (*FILES, "checkpoints", "logs", EXPORTS):
            for begun in self.path.glob(f".{name}.*"):
                _delete(begun)

    def _empty(self) -> None:
        """Delete a run so that, wherever this is cut off, the rest is a run or nothing.

        The result goes first, since an old one must not be taken for the new; the states go all at
        once, since some of them are none to go on from; the settings, by which a folder is known
        for a run, go last.
        """
        (self.path / "result.json").unlink(missing_ok=True)
        for folder in (self.checkpoints, self.logs, self.exports):
            if folder.is_symlink():
                tell(f"asterism: {folder} was a link; what it leads to is left as it is.")
            if folder.is_symlink() or folder.exists():
                gone = Path(tempfile.mkdtemp(dir=self.path, prefix=f".{folder.name}."))
                os.replace(folder, gone / folder.name)
                _delete(gone)
        for name in (*sorted({*FILES} - {"config.yaml"}), "config.yaml"):
            _delete(self.path / name)

    def write_config(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        """Write the resolved settings, and where they met which data, models and versions."""
        self._write("config.yaml", as_yaml({**config, "provenance": provenance}).encode())

    def read_config(self) -> dict[str, Any]:
        """Return the settings of the run."""
        return self._read("config.yaml", read_yaml)

    def training(self) -> str | None:
        """Return the mark of the training that the folder is of; None if it has none."""
        if not self._is_run():
            return None
        provenance = self.read_config().get("provenance")
        mark = provenance.get("training") if isinstance(provenance, dict) else None
        return None if mark is None else str(mark)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with open(self._own("metrics.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl; a last line cut short by a crash is left out."""
        if not (self.path / "metrics.jsonl").exists():
            return []
        lines = self._read("metrics.jsonl", read_file).decode(errors="replace").split("\n")
        try:
            records = [parse_json(line) for line in lines[:-1]]
        except ValueError as error:
            raise RunError(f"{self.path / 'metrics.jsonl'} is damaged: {error}.") from error
        for line in records:
            if not isinstance(line, dict) or not isinstance(line.get("step"), int):
                raise RunError(f"{self.path / 'metrics.jsonl'} is damaged: a line has no step.")
        return records

    def cut_metrics(self, step: int) -> None:
        """Forget metrics from after this step: a resumed run will write them again."""
        kept = [line for line in self.read_metrics() if line["step"] <= step]
        self._write("metrics.jsonl", "".join(json.dumps(x) + "\n" for x in kept).encode())

    def write_result(self, result: dict[str, Any]) -> None:
        """Write what the run came to."""
        self._write("result.json", (json.dumps(result, indent=2) + "\n").encode())

    def read_result(self) -> dict[str, Any]:
        """Return what the run came to."""
        return self._read("result.json", read_json)

    def read_evaluation(self) -> dict[str, np.ndarray]:
        """Return the sampled rows behind the result: an array by name, none if there is no file."""
        path = self.path / "evaluation.npz"
        if not path.exists():
            return {}
        if not path.is_file():
            raise RunError(f"{path} is damaged: it is no file.")
        try:
            return read_archive(path)
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}") from error

    def write_evaluation(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Write a sample of what was measured: embeddings, neighbours, pictures."""
        with replacing(self.path / "evaluation.npz") as path, open(path, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    def write_student(
        self, weights: "dict[str, Tensor]", card: dict[str, Any], tokenizer: str | None = None
    ) -> None:
        """Write the student alone: its weights, its tokeniser, and how to build it."""
        if tokenizer is not None:
            self._write("tokenizer.json", tokenizer.encode())
        self._write_weights("student", weights, card)

    def write_aligner(self, weights: "dict[str, Tensor]", card: dict[str, Any]) -> None:
        """Write the map into the teacher's space: a linear layer, and how it was made."""
        self._write_weights("aligner", weights, card)

    def _write_weights(self, name: str, weights: "dict[str, Tensor]", card: dict[str, Any]) -> None:
        from safetensors.torch import save_file  # here: who only reads a run needs no torch

        with replacing(self.path / f"{name}.safetensors") as file:
            save_file(weights, file)
            card = {**card, "sha256": _digest(file)}
        self._write(f"{name}.json", (json.dumps(card, indent=2) + "\n").encode())

    def refuse_other_weights(self, name: str, card: dict[str, Any]) -> None:
        """Raise a RunError if the weights are not those that were written with their card.

        Args:
            name: `student` or `aligner`.
            card: What the file NAME.json holds; an older one says nothing of the weights.
        """
        file = self.path / f"{name}.safetensors"
        if "sha256" in card and file.is_file() and _digest(file) != card["sha256"]:
            raise RunError(
                f"{file} is damaged, or of another run: it is not the file that was written with "
                f"{name}.json. To use these weights nevertheless, name their model: "
                f"MODEL?weights={file}."
            )

    def read_aligner(self) -> dict[str, Any]:
        """Return how the map into the teacher's space was made."""
        if not (self.path / "aligner.json").exists():
            raise FileNotFoundError(f"{self.path} has no aligner: `asterism align` fits one.")
        return self._read("aligner.json", read_json)

    def read_tokenizer(self) -> str:
        """Return the student's tokenizer.json."""
        return self._read("tokenizer.json", read_file).decode(errors="replace")

    def read_card(self) -> dict[str, Any]:
        """Return how to build the student."""
        return self._read(self.student_file("student.json"), read_json)

    def student_file(self, name: str) -> str:
        """Return a file of the student by its name here; an exported student has others."""
        exported = EXPORTED[name]
        alone = not (self.path / name).exists() and (self.path / exported).exists()
        return exported if alone else name

    def _read(self, name: str, read: Callable[[Path], Read]) -> Read:
        """Return what a reader finds in a file of the folder, whose contents nobody vouches for."""
        file = self.path / name
        try:
            return read(file)
        except NotADirectoryError as error:
            raise RunError(f"{self.path} is a file: name a run folder.") from error
        except FileNotFoundError as error:
            if not self.path.exists():
                raise FileNotFoundError(f"{nothing_at(self.path)}: name a run folder.") from error
            what = "is no run folder" if not self._is_run() else "is an unfinished run"
            raise FileNotFoundError(f"{self.path} {what}: it has no {name}.") from error
        except ValueError as error:
            raise RunError(f"{file} is damaged: {error}.") from error

    def _own(self, name: str) -> Path:
        """Return a file that is written in place: what a stranger's link leads to must not be."""
        file = self.path / name
        if file.is_symlink():
            raise RunError(f"{file} is a link, and a run writes its own files only: delete it.")
        return file

    def _is_run(self) -> bool:
        return (self.path / "config.yaml").exists()

    def _write(self, name: str, content: bytes) -> None:
        with replacing(self.path / name) as file:
            file.write_bytes(content)


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _delete(path: Path) -> None:
    """Delete a file, a link (and not what it leads to) or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
