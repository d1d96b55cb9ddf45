"""From what a user names to sources: training, validation and test rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from asterism.augment import to_float
from asterism.data import hub
from asterism.data.folder import FolderSource
from asterism.data.sources import ArraySource, Source
from asterism.data.tables import READERS, open_table
from asterism.data.texts import open_users_own, read_lines

KINDS = (
    "`digits`, a folder of pictures, an .npz file with x (and y), a .csv, .tsv, .jsonl or .parquet "
    "table, a .txt file of one text per line, or a data set of Hugging Face (hf/NAME)"
)


@dataclass(frozen=True)
class Data:
    """Training and validation rows of one source, and possibly test data.

    Attributes:
        source: Where the training samples are.
        train: Rows for training.
        validation: Rows for model selection; of `validation_source` if there is one.
        validation_source: Separate validation data, or None.
        test: Data read once, at the end; None if there are none.
    """

    source: Source
    train: Tensor
    validation: Tensor
    validation_source: Source | None = None
    test: Source | None = None

    @property
    def classes(self) -> int | None:
        """Return the number of classes; None without labels."""
        return None if self.source.names is None else len(self.source.names)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel, from some 2,000 training images.

        Texts have none: two empty tuples.
        """
        # Spread over all rows: folders come sorted by class.
        some = self.train[:: max(1, len(self.train) // 2000)]
        (samples,) = self.source.__getitems__(some.tolist()).views
        if isinstance(samples, list):
            return (), ()
        images = to_float(samples)
        std = images.std((0, 2, 3)).clamp_min(1e-3)
        return tuple(images.mean((0, 2, 3)).tolist()), tuple(std.tolist())

    def refuse_broken(self) -> None:
        """Read all samples once.

        Raises:
            ValueError: If some cannot be read; the message names them.
        """
        sources = [s for s in (self.source, self.validation_source, self.test) if s is not None]
        broken: list[str] = []
        for source in sources:
            for rows in torch.split(torch.arange(len(source)), 256):
                broken += source.__getitems__(rows.tolist()).broken
        if broken:
            more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
            raise ValueError(
                f"{len(broken)} samples cannot be read: {', '.join(broken[:3])}{more}. Remove "
                "them, or leave them out with --on-broken skip."
            )

    def evaluation(self) -> tuple[Source, Tensor, str]:
        """Return source, rows and name of the data that results are measured on."""
        if self.test is not None:
            return self.test, torch.arange(len(self.test)), "test"
        return self.validation_source or self.source, self.validation, "validation"


def open_data(
    data: Any,
    *,
    validation: Any = None,
    test: Any = None,
    validation_share: float = 0.1,
    split_seed: int = 0,
    image_size: int = 32,
) -> Data:
    """Open data and split off validation rows, seeded and, with labels, class by class.

    Args:
        data: What docs/data.md lists: a name with `?column=…` arguments, a Dataset, or a Source.
        validation: Validation data of the same kinds; by default a share of the training data.
        test: Test data of the same kinds.
        validation_share: Share of the training data kept for validation.
        split_seed: Seed of the split.
        image_size: Size to which the pictures of a folder are brought.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the data cannot be read or do not fit together.
    """
    source = open_source(data, image_size=image_size)
    names = source.names
    if isinstance(data, str) and data == "digits" and test is None:
        test_source: Source | None = _digits()[1]
    else:
        test_source = test and open_source(test, image_size=image_size, names=names)
    if validation is not None:
        validation_source = open_source(validation, image_size=image_size, names=names)
        return Data(
            source,
            torch.arange(len(source)),
            torch.arange(len(validation_source)),
            validation_source,
            test_source,
        )
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share must lie between 0 and 1; got {validation_share}.")
    held_out = _held_out(source, validation_share, split_seed)
    train = torch.nonzero(~held_out).flatten()
    return Data(source, train, torch.nonzero(held_out).flatten(), None, test_source)


def open_source(data: Any, *, image_size: int = 32, names: Any = None) -> Source:
    """Open one source (see `open_data`)."""
    if isinstance(data, Source):
        return data
    if hub.is_dataset(data):
        return hub.open_object(data, image_size=image_size, class_names=names)
    if not isinstance(data, str | Path):
        return open_users_own(data)
    if data == "digits":
        return _digits()[0]
    base, _, query = str(data).partition("?")
    named, path = dict(parse_qsl(query)), Path(base)
    if path.is_dir() and hub.is_saved(path):
        return hub.open_saved(path, named, image_size=image_size, class_names=names)
    if path.suffix.lower() in READERS and path.is_file():
        return open_table(path, named, image_size=image_size, class_names=names)
    if base.startswith("hf/") and not path.exists():
        name = base.removeprefix("hf/")
        return hub.open_named(name, named, image_size=image_size, class_names=names)
    if named:
        raise ValueError(f"{base} takes no arguments; got ?{query}.")
    if path.is_dir():
        return FolderSource(path, image_size=image_size, names=names)
    if not path.exists():
        raise FileNotFoundError(f"no data at {path}: name {KINDS}.")
    if path.suffix.lower() == ".txt":
        return read_lines(path)
    if path.suffix != ".npz":
        raise ValueError(f"cannot read {path}: data are {KINDS}.")
    return _npz(path)


def _held_out(source: Source, share: float, seed: int) -> Tensor:
    """Mark the validation rows; the same share of every class where there are labels."""
    generator = torch.Generator().manual_seed(seed)
    key = torch.rand(len(source), generator=generator, dtype=torch.float64)
    group = source.targets if source.targets is not None else torch.zeros(len(source)).long()
    held_out = torch.zeros(len(source), dtype=torch.bool)
    for number in torch.unique(group):
        rows = torch.nonzero(group == number).flatten()
        count = round(share * len(rows))
        held_out[rows[key[rows].argsort()[:count]]] = True
    if not held_out.any() or held_out.all():
        raise ValueError(
            f"{len(source)} samples are too few to split off {share:.0%} for validation: give "
            "validation data."
        )
    return held_out


def _digits() -> tuple[ArraySource, ArraySource]:
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
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            if "x" not in arrays:
                raise ValueError(
                    f"{path} must hold the images as `x` (and class numbers as `y`); it holds "
                    f"{', '.join(arrays) or 'nothing'}."
                )
            x, y = arrays["x"], arrays.get("y")
            names = [str(name) for name in arrays["names"]] if "names" in arrays else None
    except (BadZipFile, EOFError) as error:
        raise ValueError(f"cannot read {path}: {error}.") from error
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
    targets = None if y is None else torch.from_numpy(y.astype(np.int64))
    # Grey pictures of this size are digits and letters as a rule: a mirrored 2 is no 2.
    return ArraySource(images, targets, names=names, flip=images.shape[1] == 3)
