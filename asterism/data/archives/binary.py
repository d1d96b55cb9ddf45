"""Archives of bare numbers: MNIST and its like (idx), STL-10, SVHN (.mat)."""

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.archives.layout import Array, Layout, Pixels, counted_from_one


def _idx(place: Path, name: str) -> Array:
    """Return the array of an idx file, packed by gzip or not: big-endian sizes, then bytes."""
    file = next(f for f in (place / name, place / f"{name}.gz") if f.exists())
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{file.name} is no idx file of bytes")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4).tolist()
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if math.prod(shape) != len(values):
        raise ValueError(f"{file.name} claims the shape {shape}, and has {len(values)} bytes")
    return values.reshape(shape)


def _mnist(place: Path, split: str) -> Pixels:
    part = {"train": "train", "test": "t10k"}[split]
    images = _idx(place, f"{part}-images-idx3-ubyte")
    targets = _idx(place, f"{part}-labels-idx1-ubyte")
    names = [str(i) for i in range(max(10, int(targets.max(initial=0)) + 1))]
    return Pixels(images[:, None], targets, names, flip=False)


def _stl10(place: Path, split: str) -> Pixels:
    values = np.fromfile(place / f"{split}_X.bin", np.uint8)
    # Each channel column by column.
    images = values.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)
    names = (place / "class_names.txt").read_text().split()
    if split == "unlabeled":
        return Pixels(images, None, names)
    labels = np.fromfile(place / f"{split}_y.bin", np.uint8)
    return Pixels(images, counted_from_one(labels, len(names)), names)


def matlab(file: Path) -> dict[str, Any]:
    """Return the variables of a `.mat` file (before version 7.3), structures as records."""
    from scipy.io import loadmat  # here: it takes long to import

    held: dict[str, Any] = loadmat(file)
    return held


def _svhn(place: Path, split: str) -> Pixels:
    held = matlab(place / f"{split}_32x32.mat")
    images = np.asarray(held["X"])  # height, width, channels, n
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != 3:
        raise ValueError(f"X must be uint8 (h, w, 3, n); got {images.dtype} {images.shape}")
    targets = np.asarray(held["y"]).reshape(-1).astype(np.int64) % 10  # 10 is the digit 0
    return Pixels(images.transpose(3, 2, 0, 1), targets, list("0123456789"), flip=False)


LAYOUTS = {
    "mnist": Layout(
        "MNIST, Fashion-MNIST, KMNIST: idx files, .gz or not",
        ("train-images-idx3-ubyte|train-images-idx3-ubyte.gz",),
        ("train", "test"),
        _mnist,
    ),
    "stl10": Layout(
        "STL-10, binary", ("train_X.bin", "class_names.txt"), ("train", "test", "unlabeled"), _stl10
    ),
    "svhn": Layout("SVHN, 32×32", ("train_32x32.mat",), ("train", "test", "extra"), _svhn),
}
