"""`embed()`: a student over data of any length, into one file of vectors."""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from asterism.arrays import read_archive
from asterism.data import Loader, Source
from asterism.data.batches import default_workers
from asterism.given import source_for
from asterism.models import weights_fingerprint
from asterism.names import joined_name, located, part_of, split_name
from asterism.relations import check_choice
from asterism.storage import (
    Place,
    is_file,
    is_there,
    listed,
    locked,
    made,
    opened,
    place,
    read,
    remove,
    write,
    writing,
)
from asterism.student import Student, load
from asterism.types import as_input, on_device
from asterism.vectors.files import WRITERS, Dtype, Form, as_dtype, write_ids
from asterism.words import duration, tell

# Samples that go through the student together, and rows of a part: what an interruption costs.
BATCH, PART_ROWS = 256, 16_384
# Seconds between lines of progress.
TOLD_EVERY = 5.0


@dataclass(frozen=True)
class Vectors:
    """What was written.

    Attributes:
        out: The file.
        rows: Rows in it.
        width: Columns of the embedding.
        bytes: Size of the file.
        broken: Samples that could not be read, by name; they have no row.
    """

    out: Place
    rows: int
    width: int
    bytes: int
    broken: tuple[str, ...]


class Part(NamedTuple):
    """Consecutive rows of the data, and the file that keeps their vectors until all are there."""

    file: Place
    rows: range


@dataclass(frozen=True)
class Work:
    """The parts of one file of vectors, and what they are made of.

    Attributes:
        folder: Where the parts are, beside the file.
        rows: Rows of the data that belong to the file.
        origin: Student, data and form: parts of another origin are refused.
    """

    folder: Place
    rows: range
    origin: dict[str, Any]

    @cached_property
    def parts(self) -> list[Part]:
        """Return all parts in order."""
        starts = range(self.rows.start, self.rows.stop, PART_ROWS)
        return [
            Part(self.folder / f"{i:05}.npz", range(s, min(s + PART_ROWS, self.rows.stop)))
            for i, s in enumerate(starts)
        ]

    def begin(self) -> list[Part]:
        """Make the folder or go on with it; return the parts that are missing.

        Raises:
            ValueError: If the parts there are of another student, other data or another form.
        """
        file = self.folder / "embed.json"
        if is_file(file):
            try:
                known = json.loads(read(file))
            except ValueError:
                known = None
            if known != self.origin:
                raise ValueError(
                    f"{self.folder} holds the beginning of other vectors (another student, other "
                    "data or another form): delete it, or name another --out."
                )
        else:
            write(file, json.dumps(self.origin).encode())
        there = listed(self.folder)
        return [part for part in self.parts if part.file.name not in there]


def embed(
    run: str | Path,
    data: Any,
    *,
    out: str | Path,
    ids: str | None = None,
    dtype: Dtype = "float32",
    aligned: bool = False,
    part: str = "1/1",
    factory: str | Callable[..., nn.Module] | None = None,
) -> Vectors:
    """Write the embeddings of a student on data into one file, rows in the order of the data.

    Memory does not grow with the rows, but for what the data themselves take. Interrupted or
    killed, the same call goes on, and the file is the same to the byte. Samples that cannot be read
    have no row and are named. `int8` divides each row by its largest value, which is kept as
    `scale`: cosines need no scale.

    Args:
        run: The run folder, or an exported `state`.
        data: Data as `distill` takes them; all of their rows.
        out: A `.parquet` file with the columns `id`, `embedding` (and `scale`), which is also a
            teacher for `distill`; or an `.npy` or `.safetensors` file, with the ids in a text file
            beside it, one a line.
        ids: Column of the ids, for a table; by default what the data bring, or the row's number.
        dtype: How the numbers are kept: float32, float16 or int8 (not in `.npy`).
        aligned: Embed into the teacher's space, through the map of `asterism align`.
        part: `i/n`: the i-th of n parts of the rows, for n machines with a file each.
        factory: For a student built by your own code, see `asterism.load`.

    Raises:
        FileNotFoundError: If there is no such run or data.
        ValueError: If the student does not take the data, or the file cannot hold what is asked.
    """
    file = place(located(out, stores=True))
    check_choice("dtype", dtype, Dtype)
    if file.suffix not in WRITERS or (file.suffix == ".npy" and dtype == "int8"):
        raise ValueError(
            f"vectors are written to a .parquet, .npy or .safetensors file, int8 not to .npy; got "
            f"{out} and {dtype}."
        )
    if is_there(file):
        raise ValueError(f"{file} is there: delete it, or name another --out.")
    student = load(run, factory=factory, aligned=aligned)
    source = _source(student, data, ids)
    work = Work(
        folder=file.with_name(f".{file.name}.parts"),
        rows=part_of(part, len(source)),
        origin={
            "student": weights_fingerprint(student),
            "data": source.fingerprint(),
            "dtype": dtype,
            "part": part,
            "rows": [PART_ROWS, BATCH],
        },
    )
    with locked(made(work.folder) / ".lock"):
        _fill(work, student, source, dtype)
        return _joined(work, file, source)


def _source(student: Student, data: Any, ids: str | None) -> Source:
    if ids is not None:
        if not isinstance(data, str | Path):
            raise ValueError("--ids names a column of a table; these data are an object.")
        base, given = split_name(str(data))
        data = joined_name(base, {**given, "id": ids})
    return source_for(data, student.modality, student.shape)


def _fill(work: Work, student: Student, source: Source, dtype: Dtype) -> None:
    """Make the parts that are missing."""
    missing = work.begin()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = student.to(device)
    progress = Progress(sum(len(part.rows) for part in missing))
    loader = Loader(source, _batches(missing), workers=default_workers(source))
    batches = iter(loader)
    for part in missing:
        rows: list[npt.NDArray[Any]] = []
        read: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        broken: list[str] = []
        for _ in range(-(-len(part.rows) // BATCH)):
            batch = next(batches)
            broken += batch.broken
            progress(BATCH)
            if not len(batch.index):
                continue
            with torch.no_grad():
                outputs = student(on_device(as_input(batch.views[0]), device))
            rows.append(outputs.embedding.float().cpu().numpy())
            read.append(batch.index.numpy())
        kept = as_dtype(np.concatenate(rows), dtype) if rows else {}
        arrays = {**kept, "index": np.concatenate(read), "broken": np.array(broken, np.str_)}
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        write(part.file, content.getvalue())


def _batches(parts: list[Part]) -> Iterator[list[int]]:
    for part in parts:
        for start in range(0, len(part.rows), BATCH):
            yield list(part.rows[start : start + BATCH])


def _joined(work: Work, file: Place, source: Source) -> Vectors:
    """Write the file of all parts, one part in memory at a time, and remove them."""
    rows, width, broken, numbers = 0, 0, list[str](), list[npt.NDArray[np.int64]]()
    form: Form | None = None
    for part in work.parts:
        arrays = _read(part)
        broken += arrays["broken"].tolist()
        numbers.append(arrays["index"])
        rows += len(arrays["index"])
        if form is None and "embedding" in arrays:
            width = arrays["embedding"].shape[1]
            form = Form(arrays["embedding"].dtype, width, scaled="scale" in arrays)
    if form is None:
        raise ValueError(f"no sample of the data could be read: {', '.join(broken[:3])}.")
    index = np.concatenate(numbers)
    filled = (arrays for arrays in map(_read, work.parts) if "embedding" in arrays)
    # Written in the parts' folder, so that what a killed process leaves half written goes with it.
    if file.suffix != ".parquet":
        ids = file.with_name(f"{file.name}.ids.txt")
        with writing(ids, within=work.folder) as unfinished:
            write_ids(index, source.name_of, unfinished)
    with writing(file, within=work.folder) as unfinished:
        WRITERS[file.suffix](unfinished, filled, replace(form, rows=rows), source.name_of)
        size = unfinished.stat().st_size
    remove(work.folder)
    return Vectors(file, rows, width, size, tuple(broken))


def _read(part: Part) -> dict[str, npt.NDArray[Any]]:
    with opened(part.file) as file:
        return read_archive(file)


class Progress:
    """Lines on standard error: how far it is, and the time left."""

    def __init__(self, rows: int, verb: str = "embed") -> None:
        """Begin with nothing done of so many rows."""
        self.rows, self.done, self.verb = rows, 0, verb
        self.begun = self.told = time.monotonic()

    def __call__(self, rows: int) -> None:
        """Count rows that are done."""
        self.done = min(self.rows, self.done + rows)
        now = time.monotonic()
        if now - self.told < max(TOLD_EVERY, 0.05 * (now - self.begun)):
            return
        self.told, seconds = now, now - self.begun
        left = duration(seconds / self.done * (self.rows - self.done))
        share = 100 * self.done // self.rows
        tell(f"{self.verb}: {share} %, {duration(seconds)}, {left} left")
