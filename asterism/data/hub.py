"""Data sets of Hugging Face's `datasets` library: saved ones, named ones, objects."""

import hashlib
import importlib
import io
from pathlib import Path
from typing import IO, Any

from asterism.data.columns import choose, headed
from asterism.data.source import Source
from asterism.data.table import PictureTable, Table, from_table
from asterism.modality import IMAGE


def is_saved(path: Path) -> bool:
    """Return whether a folder was written by `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def is_dataset(data: Any) -> bool:
    """Return whether an object is a data set of that library, streamed or not, or parts of one."""
    if isinstance(data, dict) and data:
        return all(map(is_dataset, data.values()))
    return hasattr(data, "features") and hasattr(data, "column_names")


def open_saved(path: Path, named: dict[str, str], **options: Any) -> Source:
    """Open a folder written by `save_to_disk`; `?split=NAME` chooses one of several parts.

    Raises:
        ValueError: If it cannot be read, or lacks a column or the part.
    """
    split = named.pop("split", None)
    try:
        data = _library().load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"cannot read the data set in {path}: {_line(error)}.") from error
    return open_object(_part(data, split, str(path)), named, place=str(path), **options)


def open_named(name: str, named: dict[str, str], **options: Any) -> Source:
    """Open a data set of the hub: `hf/ORG/NAME?split=train&config=NAME`.

    Raises:
        ValueError: If it cannot be fetched, or lacks a column or the part.
    """
    split = named.pop("split", None)
    config = named.pop("config", None)
    if named.pop("streaming", "false").lower() == "true":
        raise _streamed(name)
    try:
        data = _library().load_dataset(name, config)
    except Exception as error:  # the libraries below raise a dozen kinds
        raise ValueError(
            f"the data set {name} could not be fetched: {_line(error)}. Without a network, name a "
            "folder written by its save_to_disk."
        ) from error
    return open_object(_part(data, split, name), named, place=f"hf/{name}", **options)


def open_object(
    data: Any,
    named: dict[str, str] | None = None,
    *,
    place: str = "the data set",
    image_size: int | None = None,
) -> Source:
    """Return a source of a `datasets.Dataset`: texts and arrays in memory, pictures as needed.

    Raises:
        ValueError: If the data set is streamed, or lacks a column.
    """
    data = _part(data, None, place)
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise _streamed(place)
    data = data.with_format(None)  # values as they are stored, and not as a library's tensors
    names = dict(zip(headed(data.column_names, place), data.column_names, strict=True))
    chosen = choose(list(names), named or {}, place)
    feature = data.features[names[chosen.label]] if chosen.label is not None else None
    classes = getattr(feature, "names", None)
    column = names[chosen.samples]
    if chosen.modality is not IMAGE or data.features[column].dtype == "string":
        used = [x for x in (chosen.samples, chosen.label, chosen.id) if x is not None]
        table = Table({name: list(data[names[name]]) for name in used})
        taken = {chosen.modality.name: chosen.samples, "label": chosen.label, "id": chosen.id}
        roles = {role: name for role, name in taken.items() if name is not None}
        source = from_table(table, roles, Path(place), image_size=image_size, names=classes)
    else:
        undecoded = data.cast_column(column, _library().Image(decode=False))
        labels, ids = (
            None if c is None else list(data[names[c]]) for c in (chosen.label, chosen.id)
        )
        source = HubPictures(
            undecoded,
            column,
            image_size=image_size,
            targets=labels,
            names=classes,
            ids=ids,
            place=place,
        )
    source.notes = chosen.notes
    return source


class Encoded(io.BytesIO):
    """The bytes of a picture; errors that name them say the same each time."""

    def __repr__(self) -> str:
        """Return what they are, and not where in memory."""
        return "of these bytes"


class HubPictures(PictureTable):
    """Pictures inside a data set, decoded when they are fetched."""

    def __init__(self, data: Any, column: str, *, place: str, **options: Any) -> None:
        """Hold the data set.

        Args:
            data: The data set, with undecoded pictures (`bytes` or `path`).
            column: Where they are.
            place: Where the data set is from, for messages.
            **options: See `PictureTable`.
        """
        files = [Path(f"{place}, row {row + 1}") for row in range(len(data))]
        self.data = data
        self.column = column
        super().__init__(files, place=place, **options)

    def picture(self, row: int) -> Path | IO[bytes]:
        """Return the bytes of a row's picture, or its file."""
        cell = self.data[row][self.column]
        if cell is None:
            raise ValueError("no image")
        return Encoded(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"])

    def fingerprint(self) -> str:
        """Return a short hash of the rows' own fingerprint and of their number."""
        text = f"{self.data._fingerprint} {len(self.data)} {self.column}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _part(data: Any, split: str | None, place: str) -> Any:
    """Return one part of a data set of several."""
    if not isinstance(data, dict):
        return data
    if split is None and ("train" in data or len(data) == 1):
        split = "train" if "train" in data else next(iter(data))
    if split not in data:
        raise ValueError(f"{place} has the parts {', '.join(data)}: name one, ?split=NAME.")
    return data[split]


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            "data sets of Hugging Face need the datasets library: pip install 'asterism[hf]'."
        ) from error


def _streamed(name: str) -> ValueError:
    return ValueError(
        f"{name} is streamed: samples are split, shuffled and matched with the teacher by their "
        "number, which a stream does not have. Load it without streaming, or save a part of it."
    )


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
