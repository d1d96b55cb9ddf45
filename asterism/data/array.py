"""Samples in memory: images, or float arrays of any shape."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism.arrays import read_archive, read_array
from asterism.data.source import Source, check_targets
from asterism.modality import ARRAY, IMAGE
from asterism.names import refuse_arguments
from asterism.types import Batch


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
        targets: "Tensor | np.ndarray[Any, Any] | None" = None,
        *,
        names: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        flip: bool = True,
    ) -> None:
        """Hold the arrays.

        Args:
            samples: uint8 images, shape `(n, channels, height, width)`, or floats, shape `(n, …)`.
            targets: Class numbers, shape `(n,)`.
            names: Names of the classes.
            ids: A name for each sample.
            flip: Whether a mirrored image is still the same thing.

        Raises:
            ValueError: If lengths differ, a class number is negative, or it is neither of both.
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
        self.ids = ids
        if targets is not None:
            self.targets, self.names = check_targets(targets, len(samples), names)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows as one batch."""
        index = torch.as_tensor(rows)
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
    x, y = arrays["x"], arrays.get("y")
    names = [str(name) for name in arrays["names"]] if "names" in arrays else None
    ids = [str(name) for name in arrays["id"].tolist()] if "id" in arrays else None
    if not len(x):
        raise ValueError(f"{path} holds no sample.")
    if x.dtype.kind == "f":
        if x.ndim == 4 and {x.shape[1], x.shape[3]} & {1, 3} and not named:
            raise ValueError(
                f"`x` in {path} holds floats of shape {x.shape}: images, or arrays? Images must be "
                f"uint8; for arrays, which are taken as they are, write {path}?kind=array."
            )
        samples = features(x, str(path))
    else:
        samples = _images(x, path)
    if ids is not None and len(ids) != len(samples):
        raise ValueError(f"{path} must hold one id per sample; it has {len(ids)}.")
    try:
        # Grey pictures are digits and letters as a rule: a mirrored 2 is no 2.
        return ArraySource(samples, y, names=names, ids=ids, flip=samples.shape[1] == 3)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def open_features(path: Path) -> ArraySource:
    """Open an `.npy` file of float arrays, one along the first axis for each sample.

    Raises:
        ValueError: If it cannot be read, or holds something else.
    """
    return ArraySource(features(np.asarray(read_array(path)), str(path)))


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
