"""Numpy files read safely: nothing in them runs, and their claims are checked first."""

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from asterism.documents import refuse_irregular

Array = npt.NDArray[Any]


def read_archive(path: Path) -> dict[str, Array]:
    """Return the arrays of an `.npz` file by name.

    Raises:
        ValueError: If it is damaged, holds Python objects, claims other sizes than it has, or would
            not fit in the machine's memory.
    """
    try:
        refuse_irregular(path)
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            needed = 0
            for member in members:
                with archive.open(member) as file:
                    needed += _check_header(file, member.file_size, member.filename)
            _check_memory(needed)
            arrays = {}
            for member in members:
                with archive.open(member) as file:
                    array = np.lib.format.read_array(file, allow_pickle=False)
                    arrays[member.filename.removesuffix(".npy")] = array
            return arrays
    # Zip, zlib, numpy and Python's parser raise many kinds of errors on damaged files.
    except Exception as error:
        raise ValueError(f"cannot read {path}: {error or type(error).__name__}.") from error


def read_array(path: Path) -> Array:
    """Return the array of an `.npy` file, which stays on disk until it is used.

    Raises:
        ValueError: As `read_archive`.
    """
    try:
        refuse_irregular(path)
        with open(path, "rb") as file:
            _check_header(file, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except Exception as error:
        raise ValueError(f"cannot read {path}: {error or type(error).__name__}.") from error


def _check_header(file: IO[bytes], size: int, name: str = "it") -> int:
    """Return the bytes of an array whose header says the truth about them."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"unknown version {version} of numpy's format")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(
            f"{name.removesuffix('.npy')} holds Python objects, which are never loaded: store "
            "plain numbers, and texts as such, array.astype(str)"
        )
    claimed = math.prod(shape) * dtype.itemsize
    there = size - file.tell()
    if min(shape, default=0) < 0 or claimed != there:
        raise ValueError(f"an array claims the shape {shape} and {claimed} bytes, and has {there}")
    return there


def _check_memory(needed: int) -> None:
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ValueError(
            f"unpacked it takes {needed / 2**30:.0f} GB, and the machine has {memory / 2**30:.0f}"
        )
