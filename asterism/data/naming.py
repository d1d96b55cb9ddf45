"""From a name to a source of samples."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterism.arrays import read_archive
from asterism.data import hub
from asterism.data.folder import FolderSource
from asterism.data.sources import ArraySource, Source
from asterism.data.tables import READERS, open_table
from asterism.data.texts import open_users_own, read_lines
from asterism.names import split_name

KINDS = (
    "`digits`, a folder of pictures, an .npz file with x (and y), a .csv, .tsv, .jsonl or .parquet "
    "table, a .txt file of one text per line, or a data set of Hugging Face (hf/NAME)"
)


def open_source(data: Any, *, image_size: int = 32, names: Any = None) -> Source:
    """Open one source.

    Args:
        data: What docs/data.md lists: a name with `?column=…` arguments, a Dataset, or a Source.
        image_size: Height and width to which pictures are brought.
        names: Names of the classes in the order of their numbers, where they are known.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the data cannot be read.
    """
    if isinstance(data, Source):
        return data
    if hub.is_dataset(data):
        return hub.open_object(data, image_size=image_size, class_names=names)
    if not isinstance(data, str | Path):
        return open_users_own(data)
    if data == "digits":
        return digits()[0]
    base, named = split_name(str(data))
    path = Path(base)
    if path.is_dir() and hub.is_saved(path):
        return hub.open_saved(path, named, image_size=image_size, class_names=names)
    if path.suffix.lower() in READERS and path.is_file():
        return open_table(path, named, image_size=image_size, class_names=names)
    if base.startswith("hf/") and not path.exists():
        name = base.removeprefix("hf/")
        return hub.open_named(name, named, image_size=image_size, class_names=names)
    if named:
        raise ValueError(f"{base} takes no arguments; got {next(iter(named))}.")
    if path.is_dir():
        return FolderSource(path, image_size=image_size, names=names)
    if not path.exists():
        raise FileNotFoundError(f"no data at {path}: name {KINDS}.")
    if path.suffix.lower() == ".txt":
        return read_lines(path)
    if path.suffix != ".npz":
        raise ValueError(f"cannot read {path}: data are {KINDS}.")
    return _npz(path)


def digits() -> tuple[ArraySource, ArraySource]:
    """Scikit-learn's 8×8 digits: 1,297 for training and, chosen once by a seed, 500 for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    targets = torch.from_numpy(bunch.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = (
        ArraySource(images[rows], targets[rows], flip=False) for rows in (order[500:], order[:500])
    )
    return train, test


def _npz(path: Path) -> ArraySource:
    arrays = read_archive(path)
    if "x" not in arrays:
        raise ValueError(
            f"{path} must hold the images as `x` (and class numbers as `y`); it holds "
            f"{', '.join(arrays) or 'nothing'}."
        )
    x, y = arrays["x"], arrays.get("y")
    names = [str(name) for name in arrays["names"]] if "names" in arrays else None
    if not len(x):
        raise ValueError(f"{path} holds no image.")
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.dtype != np.uint8:
        raise ValueError(
            f"`x` in {path} must be uint8 of shape (n, height, width) or (n, height, width, "
            f"channels); got {x.dtype} of shape {x.shape}."
        )
    if x.shape[3] not in (1, 3) and x.shape[1] in (1, 3):
        images = torch.from_numpy(x)
    else:
        images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    # Grey pictures of this size are digits and letters as a rule: a mirrored 2 is no 2.
    try:
        return ArraySource(images, y, names=names, flip=images.shape[1] == 3)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
