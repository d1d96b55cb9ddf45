"""Standard archives by path, as they come from their authors: `cub:PATH?split=test`."""

import struct
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch

from asterism.data.archives import binary, cifar, lists
from asterism.data.archives.layout import Layout, Listed, Pixels
from asterism.data.array import ArraySource
from asterism.data.source import Source
from asterism.data.table import PictureTable
from asterism.names import split_archive

LAYOUTS: dict[str, Layout] = {**cifar.LAYOUTS, **binary.LAYOUTS, **lists.LAYOUTS}
# What readers raise on files that are not as they should be.
DAMAGE = (
    KeyError, IndexError, TypeError, ValueError, StopIteration, EOFError, OSError, AttributeError,
    NotImplementedError, MemoryError, RecursionError, UnpicklingError, zlib.error, struct.error,
    tarfile.TarError,
)  # fmt: skip


def archive_named(base: str) -> tuple[str, Path] | None:
    """Return the kind and the place of an archive by name or by what its folder holds."""
    kind, place = split_archive(base)
    if kind:
        return kind.removesuffix(":"), Path(place)
    path = Path(base)
    if not path.is_dir():
        return None
    return next(((kind, path) for kind, layout in LAYOUTS.items() if layout.is_in(path)), None)


def open_standard(
    kind: str, place: Path, named: Mapping[str, str], *, image_size: int | None
) -> Source:
    """Open one part of a standard archive.

    Args:
        kind: One of `LAYOUTS`.
        place: Its folder, unpacked; of CIFAR also the tar file it comes in.
        named: `split`: which part; by default the one for training.
        image_size: Height and width to which files of pictures are brought; by default their own,
            up to 224.

    Raises:
        FileNotFoundError: If there is nothing at the place, or not this archive.
        ValueError: If it has no such part, or is damaged.
    """
    layout = LAYOUTS[kind]
    splits = layout.splits
    split = named.get("split", splits[0])
    if set(named) - {"split"} or split not in splits:
        raise ValueError(f"{kind}:{place} takes ?split= with one of {', '.join(splits)}.")
    packed = kind in cifar.LAYOUTS and place.is_file()
    if not packed and not layout.is_in(place):
        marks = ", ".join(mark.replace("|", " or ") for mark in layout.marks)
        raise FileNotFoundError(
            f"{place} does not hold {layout.title}: it needs the folder with {marks}."
        )
    try:
        found = layout.read(place, split)
    except DAMAGE as error:
        raise ValueError(
            f"{place} is not as {kind}'s authors give it: {str(error) or type(error).__name__}."
        ) from error
    if isinstance(found, Pixels):
        images = torch.from_numpy(np.array(found.images, order="C"))
        names = None if found.targets is None else list(found.names)
        return ArraySource(images, found.targets, names=names, flip=found.flip)
    return _pictures(found, f"{kind}:{place}", image_size)


def _pictures(found: Listed, place: str, image_size: int | None) -> Source:
    if not found.files:
        raise ValueError(f"{place} names no picture.")
    names = list(found.names or sorted(set(found.labels)))
    number = {name: i for i, name in enumerate(names)}
    if unknown := set(found.labels) - number.keys():
        raise ValueError(f"{place} has pictures of a class that it does not list: {min(unknown)}.")
    source = PictureTable(
        [found.root / file for file in found.files],
        image_size=image_size,
        targets=torch.tensor([number[label] for label in found.labels]),
        names=names,
        ids=list(found.files),
        place=place,
    )
    source.flip = found.flip
    return source
