"""Samples in memory: images, or float arrays of any shape."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism.arrays import read_archive, read_array
from asterism.data.source import Source
from asterism.modality import ARRAY, IMAGE
from asterism.names import refuse_arguments
from asterism.types import Batch
from asterism.words import readable


class ArraySource(Source):
    """Images or arrays in memory.

    uint8 is images, `(n, channels, height, width)`; floats are arrays of any shape `(n, …)`.

    Attributes:
        samples: All of them.
    """

    in_memory = True

    def __init__(
        self,
        samples: Tensor,
        targets: Any = None,
        *,
        names: Sequence[str] | None = None,
        ids: Sequence[Any] | None = None,
        unusable: Mapping[int, str] | None = None,
        flip: bool = True,
        place: str = "the data",
    ) -> None:
        """Hold the arrays.

        Args:
            samples: uint8 images, shape `(n, channels, height, width)`, or floats, shape `(n, …)`.
            targets: A label for each, shape `(n,)`: class numbers or names.
            names: Names of the classes by number.
            ids: A name for each sample.
            unusable: Rows that are left out, with the reason.
            flip: Whether a mirrored image is still the same thing.
            place: Where the samples are from, for messages.

        Raises:
            ValueError: If lengths differ, a label is none, or samples are neither of both.
        """
        images = samples.dtype == torch.uint8 and samples.ndim == 4
        if not images and not (samples.is_floating_point() and samples.ndim > 1):
            raise ValueError(
                "samples must be uint8 images of shape (n, channels, height, width), or floats of "
                f"shape (n, …); got {samples.dtype} of shape {tuple(samples.shape)}."
            )
        self.modality = IMAGE if images else ARRAY
        self.samples = samples if images else samples.float()
        self.shape = tuple(samples.shape[1:])
        self.flip = flip
        self.place = place
        self.describe(unusable=unusable, labels=targets, names=names, ids=ids)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def fetch(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows as one batch."""
        index = torch.tensor(rows, dtype=torch.int64)
        return Batch((self.samples[index],), index, self._targets_of(index))

    def fingerprint(self) -> str:
        """Return a short hash of samples and labels."""
        digest = hashlib.sha256(self.samples.numpy().tobytes())
        if self.targets is not None:
            digest.update(self.targets.numpy().tobytes())
        return digest.hexdigest()[:16]


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


def open_archive(path: Path, named: Mapping[str, str]) -> ArraySource:
    """Open an `.npz` file: `x`, images or arrays, and possibly `y`, `names` and `id`.

    Args:
        path: The file.
        named: `kind`: `array` for floats that might be taken for images.

    Raises:
        ValueError: If it cannot be read, or holds something else.
    """
    refuse_arguments(str(path), named, ["kind"])
    if named.get("kind", "array") != "array":
        raise ValueError(f"{path}?kind= takes array alone; got {named['kind']}.")
    arrays = read_archive(path)
    if "x" not in arrays:
        raise ValueError(
            f"{path} must hold the samples as `x` (and class numbers as `y`); it holds "
            f"{', '.join(arrays) or 'nothing'}."
        )
    _refuse_shapes(arrays, path)
    x = arrays["x"]
    if x.dtype.kind == "f":
        if x.ndim == 4 and {x.shape[1], x.shape[3]} & {1, 3} and not named:
            raise ValueError(
                f"`x` in {path} holds floats of shape {x.shape}: images, or arrays? Images must be "
                f"uint8; for arrays, which are taken as they are, write {path}?kind=array."
            )
        samples = features(x, str(path))
    else:
        samples = _images(x, path)
    source = ArraySource(
        samples,
        arrays.get("y"),
        names=None if "names" not in arrays else arrays["names"].tolist(),
        ids=None if "id" not in arrays else arrays["id"].tolist(),
        # Grey pictures are digits and letters as a rule: a mirrored 2 is no 2.
        flip=samples.shape[1] == 3,
        place=str(path),
    )
    if others := sorted(set(arrays) - {"x", "y", "names", "id"}):
        source.notes = (f"arrays not taken: {', '.join(map(readable, others))}",)
    return source


def _refuse_shapes(arrays: Mapping[str, "np.ndarray[Any, Any]"], path: Path) -> None:
    """Raise a ValueError if an array that is used has no axis or a side of length 0."""
    for name in ("x", "y", "names", "id"):
        shape = arrays[name].shape if name in arrays else (1,)
        if not shape or min(shape) < 1:
            what = "holds no sample" if shape[:1] == (0,) else f"has `{name}` of shape {shape}"
            raise ValueError(
                f"{path} {what}: `x` must have one sample along its first axis for each, `y`, "
                "`names` and `id` one entry for each, and no side may be 0."
            )


def open_features(path: Path) -> ArraySource:
    """Open an `.npy` file of float arrays, one along the first axis for each sample.

    Raises:
        ValueError: If it cannot be read, or holds something else.
    """
    return ArraySource(features(np.asarray(read_array(path)), str(path)), place=str(path))


def features(x: "np.ndarray[Any, Any]", place: str) -> Tensor:
    """Return float arrays as a tensor, or say what is wrong with them.

    Raises:
        ValueError: If they are no floats of shape `(n, …)`, or not finite in float32.
    """
    if x.dtype.kind != "f" or x.ndim < 2 or not min(x.shape):
        raise ValueError(
            f"{place} must hold floats of shape (n, …), one array per sample; got {x.dtype} of "
            f"shape {x.shape}."
        )
    with np.errstate(over="ignore"):
        single = x.astype(np.float32)
    finite = np.isfinite(single.reshape(len(x), -1)).all(1)
    if not finite.all():
        raise ValueError(f"{place}: sample {int((~finite).argmax())} is not finite in float32.")
    return torch.from_numpy(single)


def _images(x: "np.ndarray[Any, Any]", path: Path) -> Tensor:
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.dtype != np.uint8:
        raise ValueError(
            f"`x` in {path} must be uint8 images of shape (n, height, width) or (n, height, width, "
            f"channels), or float arrays of shape (n, …); got {x.dtype} of shape {x.shape}."
        )
    if x.shape[3] not in (1, 3) and x.shape[1] in (1, 3):
        return torch.from_numpy(x)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
