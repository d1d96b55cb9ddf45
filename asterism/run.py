"""A run folder: this is the only reader and writer of its files."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import yaml
from filelock import FileLock, Timeout

from asterism.arrays import read_archive
from asterism.names import nothing_at

if TYPE_CHECKING:
    from torch import Tensor

FILES = (
    "aligner.json", "aligner.safetensors", "config.yaml", "evaluation.npz", "metrics.jsonl",
    "report.html", "report.json", "report.md", "result.json", "student.json",
    "student.safetensors", "tokenizer.json",
)  # fmt: skip


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
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"

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
            raise RunError(f"cannot make the run folder {self.path}: {error}.") from error
        lock = FileLock(self.path / ".lock")
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
            with FileLock(file).acquire(timeout=0):
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
        for name in FILES:  # what a process that was killed had begun to write
            for temporary in self.path.glob(f".{name}.*"):
                temporary.unlink()
        names = {p.name for p in self.path.iterdir()} - {".lock"}
        if not names or (resume and "config.yaml" in names):
            return
        foreign = names - {*FILES, "checkpoints", "logs"}
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
        for folder in (self.checkpoints, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for name in names & set(FILES):
            (self.path / name).unlink()

    def write_config(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        """Write the resolved settings, and where they met which data, models and versions."""
        text = yaml.safe_dump({**config, "provenance": provenance}, sort_keys=False)
        self._write("config.yaml", text.encode())

    def read_config(self) -> dict[str, Any]:
        """Return the settings of the run."""
        try:
            config = yaml.safe_load(self._read("config.yaml"))
        except (yaml.YAMLError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise RunError(f"{self.path / 'config.yaml'} is damaged: {reason}.") from error
        if not isinstance(config, dict):
            raise RunError(f"{self.path / 'config.yaml'} is damaged: it holds no settings.")
        return config

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl; a last line cut short by a crash is left out."""
        if not (self.path / "metrics.jsonl").exists():
            return []
        lines = self._read("metrics.jsonl").decode(errors="replace").split("\n")
        try:
            records = [json.loads(line) for line in lines[:-1]]
        except (json.JSONDecodeError, RecursionError) as error:
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
        return self._read_json("result.json")

    def read_evaluation(self) -> dict[str, np.ndarray]:
        """Return the sampled rows behind the result: an array by name, none if there is no file."""
        path = self.path / "evaluation.npz"
        if not path.exists():
            return {}
        try:
            return read_archive(path)
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}") from error

    def write_evaluation(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Write a sample of what was measured: embeddings, neighbours, pictures."""
        with self._atomic("evaluation.npz") as path, open(path, "wb") as file:
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

        with self._atomic(f"{name}.safetensors") as file:
            save_file(weights, file)
        self._write(f"{name}.json", (json.dumps(card, indent=2) + "\n").encode())

    def read_aligner(self) -> dict[str, Any]:
        """Return how the map into the teacher's space was made."""
        if not (self.path / "aligner.json").exists():
            raise FileNotFoundError(f"{self.path} has no aligner: `asterism align` fits one.")
        return self._read_json("aligner.json")

    def read_tokenizer(self) -> str:
        """Return the student's tokenizer.json."""
        return self._read("tokenizer.json").decode(errors="replace")

    def read_card(self) -> dict[str, Any]:
        """Return how to build the student."""
        return self._read_json("student.json")

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except NotADirectoryError as error:
            raise RunError(f"{self.path} is a file: name a run folder.") from error
        except FileNotFoundError as error:
            if not self.path.exists():
                raise FileNotFoundError(f"{nothing_at(self.path)}: name a run folder.") from error
            what = "is no run folder" if not self._is_run() else "is an unfinished run"
            raise FileNotFoundError(f"{self.path} {what}: it has no {name}.") from error

    def _is_run(self) -> bool:
        return (self.path / "config.yaml").exists()

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self._read(name))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RunError(f"{self.path / name} is damaged: {error}.") from error
        if not isinstance(value, dict):
            raise RunError(f"{self.path / name} is damaged: it holds no object.")
        return value

    def _write(self, name: str, content: bytes) -> None:
        with self._atomic(name) as file:
            file.write_bytes(content)

    @contextmanager
    def _atomic(self, name: str) -> Iterator[Path]:
        """Give a temporary path that takes the name's place when all has been written."""
        handle, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{name}.")
        os.close(handle)
        try:
            yield Path(temporary)
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path / name)
        finally:
            Path(temporary).unlink(missing_ok=True)
