"""A source of samples opened by its name."""

from pathlib import Path
from typing import Any

from asterism.data import hub
from asterism.data.archives import archive_named, open_standard
from asterism.data.array import digits, open_archive, open_features
from asterism.data.dataset import open_dataset
from asterism.data.folder import FolderSource
from asterism.data.large import open_by_groups
from asterism.data.source import Source
from asterism.data.table import READERS, open_table
from asterism.data.text import read_lines
from asterism.names import (
    is_path,
    is_store,
    joined_name,
    located,
    meant,
    nothing_at,
    refuse_arguments,
    split_name,
)
from asterism.storage import Remote, is_file, opened

# Data that are named otherwise than by their place.
NAMED = ("digits",)
KINDS = (
    "`digits`, a folder of pictures, an .npz file with x (and y), an .npy file of arrays, a .csv, "
    ".tsv, .jsonl or .parquet table, a .txt file of one text per line, a standard archive "
    "(cub:PATH, cifar100:PATH, …), or a data set of Hugging Face (hf/NAME)"
)


def open_source(data: Any, *, image_size: int | None = None) -> Source:
    """Open one source.

    Args:
        data: What docs/data.md lists: a name with `?column=…` arguments, a Dataset, or a Source.
        image_size: Height and width to which pictures are brought; by default their own, up to 224.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the data cannot be read.
    """
    if isinstance(data, Source):
        return data
    if hub.is_dataset(data):
        return hub.open_object(data, image_size=image_size)
    if not isinstance(data, str | Path):
        return open_dataset(data)
    if data == "digits":
        return digits()[0]
    base, named = split_name(str(located(data, stores=True)))
    if is_store(base):
        return _from_store(Remote(base), named, image_size=image_size)
    if standard := archive_named(base):
        return open_standard(*standard, named, image_size=image_size)
    path = Path(base)
    if path.suffix.lower() == ".parquet" and path.is_file():
        if (source := open_by_groups(path, named, image_size=image_size)) is not None:
            return source
    if path.is_dir() and hub.is_saved(path):
        return hub.open_saved(path, named, image_size=image_size)
    if path.suffix.lower() in READERS and path.is_file():
        return open_table(path, named, image_size=image_size)
    if base.startswith("hf/") and not path.exists():
        return hub.open_named(base.removeprefix("hf/"), named, image_size=image_size)
    if path.suffix == ".npz" and path.is_file():
        return open_archive(path, named)
    if base in NAMED or path.exists():
        refuse_arguments(base, named, [])
    if path.is_dir():
        return FolderSource(path, image_size=image_size)
    if not path.exists():
        hint = nothing_at(path) if is_path(base) else f"unknown data {base!r}{meant(base, NAMED)}"
        raise FileNotFoundError(f"{hint}: name {KINDS}.")
    if not path.is_file():
        raise ValueError(f"{path} is a pipe or a device: data are {KINDS}.")
    if path.suffix.lower() == ".txt":
        return read_lines(path)
    if path.suffix == ".npy":
        return open_features(path)
    raise ValueError(f"cannot read {path}: data are {KINDS}.")


def _from_store(file: Remote, named: dict[str, str], *, image_size: int | None) -> Source:
    """Open a file of data that is on a store, by a copy that is removed again."""
    if not is_file(file):
        raise FileNotFoundError(
            f"there is no file at {file}: of a store single files are read, as tables and arrays; "
            "folders of pictures are read from this machine."
        )
    if file.suffix.lower() == ".parquet":
        if (grouped := open_by_groups(file, named, image_size=image_size)) is not None:
            return grouped
    with opened(file) as here:
        source = open_source(joined_name(str(here), named), image_size=image_size)
    if isinstance(source, FolderSource):
        raise ValueError(
            f"{file} names pictures by their paths, which are read from this machine alone: copy "
            "table and pictures here."
        )
    source.place = str(file)
    return source
