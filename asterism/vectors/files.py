"""Files of vectors: each written row by row, with one part in memory."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from asterism.models.hub import load_library

Dtype = Literal["float32", "float16", "int8"]
Arrays = dict[str, npt.NDArray[Any]]
# Names of rows by their number in the data.
NameOf = Callable[[int], str]
SAFETENSORS = {"float32": "F32", "float16": "F16", "int8": "I8"}


@dataclass(frozen=True)
class Form:
    """What a file of vectors holds.

    Attributes:
        dtype: Kind of numbers.
        width: Columns of the embedding.
        scaled: Whether each row has a `scale` that it is to be multiplied by.
        rows: How many rows.
    """

    dtype: np.dtype[Any]
    width: int
    scaled: bool
    rows: int = 0


def as_dtype(embedding: npt.NDArray[np.float32], dtype: Dtype) -> Arrays:
    """Return embeddings `(n, d)` as they are kept, for int8 with the `scale` `(n,)` of each row.

    Raises:
        ValueError: If a number is too large for float16.
    """
    if dtype == "int8":
        scale = np.abs(embedding).max(1, keepdims=True) / 127
        small = np.round(embedding / np.where(scale > 0, scale, 1)).astype(np.int8)
        return {"embedding": small, "scale": scale[:, 0].astype(np.float32)}
    with np.errstate(over="ignore"):
        kept = embedding.astype(dtype)
    if np.isinf(kept).any() and np.isfinite(embedding).all():
        largest = np.abs(embedding).max()
        raise ValueError(f"a value of {largest:.3g} does not fit float16: use --dtype float32.")
    return {"embedding": kept}


def write_ids(index: npt.NDArray[np.int64], name_of: NameOf, place: Path) -> None:
    """Write the ids of the rows, one a line."""
    with open(place, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for row in index.tolist():
            file.write(" ".join(name_of(row).splitlines()) + "\n")


def write_npy(place: Path, parts: Iterable[Arrays], form: Form, name_of: NameOf) -> None:
    """Write `(n, d)` as numpy does."""
    header = {
        "descr": np.lib.format.dtype_to_descr(form.dtype),
        "fortran_order": False,
        "shape": (form.rows, form.width),
    }
    with open(place, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part["embedding"]).tobytes())


def write_safetensors(place: Path, parts: Iterable[Arrays], form: Form, name_of: NameOf) -> None:
    """Write `embedding`, and `scale` where there is one, as safetensors (its published layout)."""
    size = form.rows * form.width * form.dtype.itemsize
    kind = SAFETENSORS[form.dtype.name]
    header: dict[str, Any] = {
        "embedding": {"dtype": kind, "shape": [form.rows, form.width], "data_offsets": [0, size]}
    }
    if form.scaled:
        ends = [size, size + 4 * form.rows]
        header["scale"] = {"dtype": "F32", "shape": [form.rows], "data_offsets": ends}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    scales = []
    with open(place, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for part in parts:
            file.write(np.ascontiguousarray(part["embedding"]).tobytes())
            if form.scaled:
                scales.append(part["scale"])
        for scale in scales:
            file.write(scale.tobytes())


def write_parquet(place: Path, parts: Iterable[Arrays], form: Form, name_of: NameOf) -> None:
    """Write the columns `id`, `embedding` (lists of one length), and `scale` where there is one."""
    arrow = load_library("pyarrow", "parquet")
    parquet = load_library("pyarrow.parquet", "parquet")
    kind = arrow.from_numpy_dtype(form.dtype)
    fields = [("id", arrow.string()), ("embedding", arrow.list_(kind, form.width))]
    fields += [("scale", arrow.float32())] if form.scaled else []
    schema = arrow.schema(fields)
    with parquet.ParquetWriter(place, schema) as writer:
        for part in parts:
            flat = arrow.array(part["embedding"].reshape(-1))
            columns = [
                arrow.array([name_of(row) for row in part["index"].tolist()], arrow.string()),
                arrow.FixedSizeListArray.from_arrays(flat, form.width),
            ]
            columns += [arrow.array(part["scale"])] if form.scaled else []
            writer.write_table(arrow.table(columns, schema=schema))


Writer = Callable[[Path, Iterable[Arrays], Form, NameOf], None]
WRITERS: dict[str, Writer] = {
    ".npy": write_npy,
    ".safetensors": write_safetensors,
    ".parquet": write_parquet,
}
