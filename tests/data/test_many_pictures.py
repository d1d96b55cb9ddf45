"""A folder as it comes: mixed formats and modes, and pictures that are none."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from asterism import recipe

# Of 20,000 pictures; of fewer, at least one of each kind.
ODD = {"corrupt": 50, "grey": 20, "cmyk": 20, "huge": 10, "misnamed": 10, "alpha": 20}


def png_header(width, height):
    """The beginning of a valid grey PNG of that size, without pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


def make_folder(folder, count, seed=0):
    """Write `count` pictures in two classes and return the names of those that cannot be read."""
    rng = np.random.default_rng(seed)
    kinds = [k for k, n in ODD.items() for _ in range(max(2, n * count // 20_000))]
    kinds += ["plain"] * (count - len(kinds))
    unreadable = set()
    for name in ("bright", "dark"):
        (folder / name).mkdir(parents=True)
    for i in rng.permutation(count).tolist():
        kind, bright = kinds[i], i % 2
        height, width = rng.integers(20, 90, 2)
        low = 128 * bright
        pixels = rng.integers(low, low + 128, (height, width, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels)
        suffix = ("jpg", "png")[i % 4 > 1]
        path = folder / ("dark", "bright")[bright] / f"{i}-{kind}.{suffix}"
        if kind == "corrupt":
            picture.save(path)
            whole = path.read_bytes()
            path.write_bytes((b"", b"no picture", whole[:60], bytes(400))[i // 2 % 4])
        elif kind == "huge":  # 400 megapixels; a tenth of that is within Pillow's warnings
            path.write_bytes(png_header(20_000, 20_000 if i % 4 else 5_000))
        elif kind == "grey":
            picture.convert("L").save(path)
        elif kind == "cmyk":
            picture.convert("CMYK").save(path.with_suffix(".jpg"))
        elif kind == "misnamed":
            picture.save(path, "PNG" if suffix == "jpg" else "JPEG")
        elif kind == "alpha":
            picture.convert("RGBA").save(path.with_suffix(".png"))
        else:
            picture.save(path)
        if kind in ("corrupt", "huge"):
            unreadable.add(str(path))
    return unreadable


@pytest.mark.parametrize(
    "count", [200, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_it_runs_to_the_end_and_every_problem_is_named(count, tmp_path):
    unreadable = make_folder(tmp_path / "pictures", count)
    result = recipe.train(
        "convnet?width=4", tmp_path / "pictures", out=tmp_path / "run", epochs=1, batch_size=32,
        image_size=16, lr=0.05, workers=2,
    )  # fmt: skip
    named = [line.split(" (")[0] for line in result.evaluation["broken"]]
    assert len(named) == len(set(named))
    assert set(named) == unreadable
    assert all(" (" in line for line in result.evaluation["broken"])  # each with the reason
    assert result.evaluation["rows"] > 0.09 * (count - len(unreadable))
    if count > 10_000:
        assert result.accuracy > 0.95
