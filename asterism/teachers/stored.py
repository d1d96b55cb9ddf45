"""A teacher that is only its outputs: a dump of a vector database, an API's vectors."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from asterism.arrays import read_archive, read_array
from asterism.data.source import Source
from asterism.data.table import read_parquet
from asterism.data.values import read_ids
from asterism.names import refuse_arguments
from asterism.storage import Place, is_file, opened, read
from asterism.teachers.teacher import Teacher, TeacherCard
from asterism.types import Outputs, Samples, join_outputs, outputs_on_device

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
# Bytes of a file of ids: more are none of ours.
MOST_IDS = 2**33
# So many samples of one id in two places are compared.
COMPARED = 8


class StoredTeacher(Teacher):
    """Looks outputs up by sample instead of computing them.

    Rows are matched with the data by id where the file has ids and by number where it has none.
    There is one view, the clean one: a student that sees an augmented view is taught what the
    teacher made of the clean sample.
    """

    one_view = True
    virtual = False
    a_name = "a teacher that is only its outputs"
    first_look = "check that each of its rows belongs to the sample of its number or id"

    def __init__(
        self,
        embedding: np.ndarray[Any, Any],
        logits: np.ndarray[Any, Any] | None = None,
        ids: Sequence[str] | None = None,
        *,
        place: str = "the teacher's outputs",
    ) -> None:
        """Hold the tables.

        Args:
            embedding: Shape `(n, d)`.
            logits: Shape `(n, c)`.
            ids: Names of the rows.
            place: Where they are from, for messages.

        Raises:
            ValueError: If the tables do not fit together or hold what is no number.
        """
        super().__init__(place)
        self.table = embedding
        self.logits = logits
        self.rows = None if ids is None else {name: row for row, name in enumerate(ids)}
        tables = [embedding] if logits is None else [embedding, logits]
        for table in tables:
            if table.ndim != 2 or len(table) != len(embedding) or table.dtype.kind != "f":
                raise ValueError(
                    f"{place} must hold one row of floating-point numbers per sample; got "
                    f"{table.dtype} of shape {table.shape}."
                )
            for begin in range(0, len(table), 2**14):
                finite = np.isfinite(_single(table[begin : begin + 2**14])).all(1)
                if not finite.all():
                    raise ValueError(
                        f"{place}: row {begin + int(finite.argmin())} is not finite in float32."
                    )
        if ids is not None and (len(ids) != len(embedding) or len(self.rows or ()) != len(ids)):
            raise ValueError(f"{place} must hold one id per row, each once.")

    @property
    def card(self) -> TeacherCard:
        """Return its widths."""
        return TeacherCard(self.table.shape[1], 0 if self.logits is None else self.logits.shape[1])

    def _match(self, source: Source) -> "Rows":
        if self.rows is None:
            if len(source) != len(self.table):
                raise ValueError(
                    f"{self.place} holds {len(self.table)} rows and the data {len(source)} "
                    "samples: without ids, row i must belong to sample i of the training data."
                )
            if self._matched:
                raise ValueError(
                    f"{self.place} is matched with the training data by row, and has none for "
                    "other data: give it ids."
                )
            return Rows(self, torch.arange(len(source)))
        if source.ids is None and self._matched:
            raise ValueError(
                f"{self.place} is matched with the training data by row number, and these data "
                "have row numbers, too: give all of them ids."
            )
        names = source.ids or [str(row) for row in range(len(source))]
        usable = source.usable().tolist()  # the others are left out, whatever their names
        missing = [names[row] for row in usable if names[row] not in self.rows]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(names)} samples have no row in {self.place}: "
                f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}. Its ids are like "
                f"{next(iter(self.rows), '')!r}."
            )
        self._refuse_other_samples(source, names)
        return Rows(self, torch.tensor([self.rows.get(name, 0) for name in names]))

    def _refuse_other_samples(self, source: Source, names: Sequence[str]) -> None:
        """Raise a ValueError if an id names one sample here and another one in data before."""
        for other in self._matched:
            rows = {name: row for row, name in enumerate(other.ids or ())}
            both = ((row, rows[name]) for row, name in enumerate(names) if name in rows)
            for row, before in islice(both, COMPARED):
                here, there = source.__getitems__([row]), other.__getitems__([before])
                if not _same(here.views[0], there.views[0]):
                    raise ValueError(
                        f"{self.place} is matched by id, and {names[row]!r} names one sample in "
                        "the training data and another one in other data: give each its own id."
                    )

    def fingerprint(self) -> str:
        """Return a short hash of the tables."""
        digest = hashlib.sha256(np.ascontiguousarray(self.table).tobytes())
        if self.logits is not None:
            digest.update(np.ascontiguousarray(self.logits).tobytes())
        digest.update("\n".join(self.rows or ()).encode())
        return digest.hexdigest()[:16]


class Rows:
    """A stored teacher's outputs on the samples of one source."""

    def __init__(self, teacher: StoredTeacher, position: Tensor) -> None:
        """Hold the teacher, and in which of its rows each sample is."""
        self.teacher, self.position = teacher, position

    def clean(self, index: Tensor, samples: Samples) -> Outputs:
        """Return the outputs on some samples, on the CPU."""
        rows = self.position[index.cpu()].numpy()
        embedding = torch.from_numpy(_single(self.teacher.table[rows]))
        if self.teacher.logits is None:
            return Outputs(embedding)
        return Outputs(embedding, torch.from_numpy(_single(self.teacher.logits[rows])))

    def views(self, number: int, index: Tensor, views: Sequence[Samples]) -> Outputs:
        """Return what the teacher made of these samples; there is one view, whatever is asked."""
        outputs = outputs_on_device(self.clean(index, views[0]), index.device)
        return join_outputs([outputs] * len(views))


def is_stored(path: Place) -> bool:
    """Return whether a path may be a file of outputs."""
    return path.suffix.lower() in SUFFIXES and is_file(path)


def open_stored(path: Place, named: dict[str, str]) -> StoredTeacher:
    """Open a file of outputs.

    A column `scale` multiplies the rows of the embedding, as `asterism embed --dtype int8` writes
    them, and ids may stand in FILE.ids.txt, one a line.

    Args:
        path: An `.npy` file with the embeddings alone, or an `.npz`, `.safetensors` or `.parquet`
            file with `embedding` and possibly `logits` and `id`.
        named: Other names of these arrays or columns.

    Raises:
        ValueError: If the file cannot be read, or has no embeddings.
    """
    refuse_arguments(str(path), named, ["embedding", "logits", "id"])
    try:
        with opened(path) as here:
            arrays = READERS[path.suffix.lower()](here)
    except (BadZipFile, EOFError, OSError, SafetensorError) as error:
        raise ValueError(f"cannot read {path}: {error}.") from error
    plural = {"embedding": "embeddings", "logits": "logits", "id": "ids"}
    chosen = {
        role: arrays.get(named.get(role, role), arrays.get(other)) for role, other in plural.items()
    }
    for column in named.values():
        if column not in arrays:
            raise ValueError(f"{path} has no {column!r}; it has {', '.join(arrays)}.")
    if chosen["embedding"] is None:
        raise ValueError(
            f"{path} holds no `embedding`; it holds {', '.join(list(arrays)[:5]) or 'nothing'}. "
            f"If these are weights, name their model: MODEL?weights={path}."
        )
    if (scale := arrays.get("scale")) is not None and len(scale) == len(chosen["embedding"]):
        chosen["embedding"] = _single(chosen["embedding"]) * _single(scale.reshape(-1, 1))
    beside = path.with_name(f"{path.name}.ids.txt")
    if chosen["id"] is None and is_file(beside):
        text = read(beside, MOST_IDS).decode("utf-8", "surrogateescape")
        chosen["id"] = np.array(text.split("\n")[:-1])
    ids = None
    rows = chosen["embedding"].shape[0] if chosen["embedding"].ndim else 0
    if chosen["id"] is not None:
        ids, missing = read_ids(chosen["id"], rows, place=str(path))
        if missing:
            row, reason = next(iter(missing.items()))
            raise ValueError(
                f"{path} must hold one id per row, each once; row {row + 1}: {reason}."
            )
    return StoredTeacher(chosen["embedding"], chosen["logits"], ids, place=str(path))


def _same(one: Samples, other: Samples) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return one == other


def _single(table: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    with np.errstate(over="ignore"):  # what is too large is found when the file is opened
        return table.astype(np.float32)


Arrays = dict[str, "np.ndarray[Any, Any]"]


def _npy(path: Path) -> Arrays:
    return {"embedding": read_array(path)}


def _safetensors(path: Path) -> Arrays:
    # Through torch: numpy knows no bfloat16.
    small = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
    arrays = load_file(path).items()
    return {name: (x.float() if x.dtype in small else x).numpy() for name, x in arrays}


def _parquet(path: Path) -> Arrays:
    table = read_parquet(path)
    return {name: _column(table.column(name), name, path) for name in table.column_names}


def _column(column: Any, name: str, path: Path) -> Any:
    """Return a column as an array, one of lists of numbers with two axes."""
    values = column.to_numpy()
    width = next((len(row) for row in values if isinstance(row, np.ndarray)), None)
    if width is None:
        return values
    for number, row in enumerate(values):
        if row is None or len(row) != width:
            got = "nothing" if row is None else f"{len(row)} numbers"
            raise ValueError(
                f"{path}: {name!r} must hold {width} numbers in each row, as in the first; row "
                f"{number + 1} has {got}."
            )
    return np.stack(values)


READERS: dict[str, Callable[[Path], Arrays]] = {
    ".npy": _npy, ".npz": read_archive, ".safetensors": _safetensors, ".parquet": _parquet
}  # fmt: skip
