"""CIFAR-10 and -100 as their authors give them for Python: pickles, of which only arrays are read.

A pickle can call whatever it names. Here it can name numpy's arrays and nothing else, so that no
code in a file runs.
"""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.archives.layout import Array, Layout, Pixels

CIFAR10 = [f"data_batch_{i}" for i in range(1, 6)]
PICTURE = (3, 32, 32)


def _reconstructed(kind: Any, shape: Any, code: Any) -> Array:
    """Begin an array, as numpy's pickles do; its contents follow."""
    return np.ndarray((0,), "u1")


class ArraysOnly(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, texts and arrays of plain numbers."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few things that an array is made of.

        Raises:
            ValueError: If something else is named.
        """
        if (module, name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        }:
            return _reconstructed
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _plain_type
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return _encoded
        raise ValueError(f"it names {module}.{name}, and only arrays of numbers are read")


def _plain_type(code: str | bytes, align: Any, copy: Any) -> "np.dtype[Any]":
    # A copy, as its byte order is set afterwards.
    made = np.dtype(code.decode() if isinstance(code, bytes) else code, False, True)
    if made.kind not in "biuf":
        raise ValueError("only arrays of numbers are read")
    return made


def _encoded(text: str, coding: str | bytes) -> bytes:
    if coding not in ("latin1", b"latin1"):
        raise ValueError("only arrays of numbers are read")
    return text.encode("latin1")


def _unpacked(place: Path, name: str) -> dict[str, Any]:
    """Return what a pickle of the archive, or of the tar file it comes in, holds by name."""
    if place.is_dir():
        content = (place / name).read_bytes()
    else:
        with tarfile.open(place) as tar:
            member = next(m for m in tar if m.isfile() and Path(m.name).name == name)
            packed = tar.extractfile(member)
            content = b"" if packed is None else packed.read()
    held = ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    if not isinstance(held, dict):
        raise ValueError(f"{name} holds no dictionary")
    return {k.decode() if isinstance(k, bytes) else str(k): v for k, v in held.items()}


def _pixels(place: Path, files: list[str], label: str, names: list[Any]) -> Pixels:
    parts = [_unpacked(place, name) for name in files]
    images = np.concatenate([np.asarray(part["data"]) for part in parts])
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072:
        raise ValueError(f"its data must be uint8 rows of 3072; got {images.dtype} {images.shape}")
    targets = np.concatenate([np.asarray(part[label], np.int64) for part in parts])
    known = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    return Pixels(images.reshape(-1, *PICTURE), targets, known)


def _cifar10(place: Path, split: str) -> Pixels:
    names = _unpacked(place, "batches.meta")["label_names"]
    return _pixels(place, CIFAR10 if split == "train" else ["test_batch"], "labels", names)


def _cifar100(place: Path, split: str) -> Pixels:
    part, _, coarse = split.partition("-")
    kind = "coarse" if coarse else "fine"
    names = _unpacked(place, "meta")[f"{kind}_label_names"]
    return _pixels(place, [part], f"{kind}_labels", names)


LAYOUTS = {
    "cifar10": Layout(
        "CIFAR-10, python version", ("batches.meta", "test_batch"), ("train", "test"), _cifar10
    ),
    "cifar100": Layout(
        "CIFAR-100, python version, and its 20 coarse classes",
        ("meta", "train", "test"),
        ("train", "test", "train-coarse", "test-coarse"),
        _cifar100,
    ),
}
