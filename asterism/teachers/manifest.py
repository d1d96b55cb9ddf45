"""`cache.json`: what a cache of a teacher's outputs was made of, and what it holds."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from asterism.data import Source
from asterism.documents import parse_json
from asterism.modality import MODALITIES
from asterism.storage import Place, is_file, read
from asterism.types import Kind
from asterism.views import VERSION, Views

FORMAT = 1
NAME = "cache.json"
PARTS = ("training", "validation", "test")
DTYPES = {"float16": torch.float16, "float32": torch.float32}
PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
# More than any cache has: memory is taken, and files are looked for, by what `cache.json` says.
MOST = {"bytes": 2**20, "width": 2**20, "side": 2**14, "files": 10**7}


@dataclass(frozen=True)
class Manifest:
    """What the outputs in a cache depend on, and how they are laid out.

    Attributes:
        teacher: `name` for readers; `weights`, `architecture` and `preprocessing` as fingerprints
            or plain values.
        data: By part (`training`, `validation`, `test`): `name` for readers, `fingerprint` and
            number of `rows`.
        image_shape: Channels, height and width of the images; None for others.
        widths: Columns of the embedding and of the logits, 0 for no logits.
        dtype: How numbers are kept, `float16` or `float32`.
        precision: What the teacher computed in.
        batch_size: Samples that went through the teacher together.
        shard_rows: Rows of a file.
        count: How many augmented views there are of each training sample, numbers 0 to count - 1.
        virtual: How many virtual views belong to each of them.
        view_seed: Seed of the views.
        padding: Largest shift of a view in pixels.
        flip: Whether views may be mirrored.
        operations: Operations of RandAugment on a virtual view.
        magnitude: Their strength.
        kind: The modality; None in caches that are older, of images or texts.
        shape: Size of an array; None for others.
        views_version: Version of the code that makes views.
        format: Version of this layout.
    """

    teacher: dict[str, Any]
    data: dict[str, dict[str, Any]]
    image_shape: list[int] | None
    widths: list[int]
    dtype: str
    precision: str
    batch_size: int
    shard_rows: int
    count: int
    virtual: int
    view_seed: int
    padding: int
    flip: bool
    operations: int = Views.operations
    magnitude: int = Views.magnitude
    crop_area: list[float] | None = None
    crop_ratio: float = Views.ratio
    color_jitter: float = Views.jitter
    kind: str | None = None
    shape: list[int] | None = None
    views_version: int = VERSION
    format: int = FORMAT

    @property
    def views(self) -> Views:
        """Return what makes the augmented views."""
        area = self.crop_area
        return Views(
            self.virtual,
            self.view_seed,
            self.padding,
            self.flip,
            self.operations,
            self.magnitude,
            None if area is None else (area[0], area[1]),
            self.crop_ratio,
            self.color_jitter,
        )

    @property
    def columns(self) -> dict[str, int]:
        """Return the names of a shard's tables, and how wide they are."""
        widths = zip(("embedding", "logits"), self.widths, strict=True)
        return {name: width for name, width in widths if width}

    @property
    def size(self) -> list[int] | None:
        """Return the size of a sample; None for texts."""
        return self.image_shape or self.shape

    def is_of(self, source: Source) -> bool:
        """Return whether it is of samples like those of a source."""
        return self._modality == source.modality.name and self.size == (
            source.shape and list(source.shape)
        )

    def words(self) -> str:
        """Return what its samples are, in words."""
        return MODALITIES[self._modality].described(tuple(self.size) if self.size else None)

    @property
    def _modality(self) -> Kind:
        if self.kind is not None:
            return "array"
        return "text" if self.image_shape is None else "image"

    def key(self) -> str:
        """Return a short hash of all that each single output depends on."""
        # The first caches knew no others than these, and their names must stay.
        first: dict[str, Any] = {"operations": Views.operations, "magnitude": Views.magnitude}
        first |= {"kind": None, "shape": None}
        first |= {"crop_area": None, "crop_ratio": Views.ratio, "color_jitter": Views.jitter}
        kept = {n: value for n, value in self.decisive() if (n, value) not in first.items()}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]

    def decisive(self) -> Iterator[tuple[str, Any]]:
        """Yield by name what must not change; a cache may get more views and parts."""
        for name, value in asdict(self).items():
            if name == "teacher":
                yield from ((f"teacher's {k}", v) for k, v in value.items() if k != "name")
            elif name not in ("data", "count", "virtual"):
                yield name, value

    def refuse_changes(self, other: "Manifest", place: Place) -> None:
        """Raise a ValueError, naming both values, if another manifest is of another cache."""
        wanted = dict(other.decisive())
        for name, value in self.decisive():
            if wanted.get(name) != value:
                raise ValueError(
                    f"{place} was made with {name} {value!r}, and this is with "
                    f"{wanted.get(name)!r}: go on with the same, or name another folder."
                )
        for part in self.data.keys() & other.data.keys():
            old, new = self.data[part], other.data[part]
            if old["fingerprint"] != new["fingerprint"]:
                raise ValueError(
                    f"{place} was made with other {part} data: {old['name']}, {old['rows']} "
                    f"rows, fingerprint {old['fingerprint']}; now {new['name']}, {new['rows']} "
                    f"rows, fingerprint {new['fingerprint']}. Go on with the same, or name another "
                    "folder."
                )

    def joined(self, other: "Manifest") -> "Manifest":
        """Return the manifest of a cache that holds what either of two promises."""
        return replace(
            self,
            data={**other.data, **self.data},
            count=max(self.count, other.count),
            virtual=max(self.virtual, other.virtual),
        )


def read_manifest(folder: Place) -> Manifest:
    """Return what a cache's `cache.json` says.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or of a version that this code does not know.
    """
    file = folder / NAME
    if not is_file(file):
        raise FileNotFoundError(f"{folder} is no cache of a teacher's outputs: it has no {NAME}.")
    try:
        content = parse_json(read(file, MOST["bytes"]))
        version = content["format"]
        manifest = Manifest(**content) if version == FORMAT else None
        possible = manifest is None or _possible(manifest)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged: {error!r}.") from error
    if manifest is None:
        raise ValueError(
            f"{file} has format {version!r}, and this asterism reads {FORMAT}: make the cache anew "
            "with `asterism cache`."
        )
    if not possible:
        raise ValueError(f"{file} is damaged: it holds values that no cache has.")
    return manifest


def _possible(made: Manifest) -> bool:
    """Return whether what a file says can be true: paths and sizes are made of it."""
    sides = made.size or [1]
    rows = [part["rows"] for part in made.data.values()]
    sizes = [*made.widths, *sides, *rows, made.batch_size, made.shard_rows]
    sizes += [made.count, made.virtual, made.padding, made.operations, made.magnitude]
    if not all(type(size) is int and size >= 0 for size in sizes):
        return False
    shares = [*(made.crop_area or ()), made.color_jitter]
    ratio = made.crop_ratio
    if not all(type(share) in (int, float) and 0 <= share <= 1 for share in shares):
        return False
    views = 1 + made.count * (1 + made.virtual)
    return (
        len(made.widths) == 2
        and len(made.crop_area or (0, 0)) == 2
        and type(ratio) in (int, float)
        and 1 <= ratio < math.inf
        and (made.image_shape is None or len(made.image_shape) == 3)
        and made.kind in (None, "array")
        and (made.kind is None) == (made.shape is None)
        and min(made.batch_size, made.shard_rows, made.widths[0], *sides) > 0
        and max(made.widths) <= MOST["width"]
        and max(*sides, made.padding, made.operations) <= MOST["side"]
        and sum(-(-n // made.shard_rows) for n in rows) * views <= MOST["files"]
        and made.dtype in DTYPES
        and made.precision in PRECISIONS
        and type(made.view_seed) is int
        and "training" in made.data
        and set(made.data) <= set(PARTS)
        and all(
            type(part[name]) is str
            for part in made.data.values()
            for name in ("name", "fingerprint")
        )
        and all(type(made.teacher[name]) is str for name in ("name", "weights", "architecture"))
    )
