"""Tests for asterism/teachers/cache.py, cached.py and manifest.py: the folder itself."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from asterism import Outputs
from asterism.data import ArraySource, Data
from asterism.teachers import cache as cache_module
from asterism.teachers.cache import Cache, open_cache
from asterism.teachers.cached import CachedTeacher
from asterism.teachers.filler import Filler
from asterism.teachers.folder import prepare
from asterism.teachers.manifest import Manifest, read_manifest
from asterism.types import as_input
from asterism.views import Views

ROWS = 11


class Teacher(nn.Module):
    """Each output tells which picture was seen."""

    def forward(self, images):
        pixels = images.flatten(1)
        return Outputs(pixels, pixels[:, :2] * 10)


class Unnamed(Teacher):
    def forward(self, images):
        return Outputs(super().forward(images).embedding)


def source():
    generator = torch.Generator().manual_seed(0)
    return ArraySource(torch.randint(256, (ROWS, 3, 4, 4), generator=generator).byte())


def manifest(weights="w", **changes):
    made = {
        "teacher": {"name": "t", "weights": weights, "architecture": "a", "preprocessing": []},
        "data": {"training": {"name": "d", "fingerprint": source().fingerprint(), "rows": ROWS}},
        "image_shape": [3, 4, 4], "widths": [48, 2], "dtype": "float32", "precision": "32",
        "batch_size": 2, "shard_rows": 4, "count": 2, "virtual": 1, "view_seed": 5, "padding": 1,
        "flip": True,
    }  # fmt: skip
    return Manifest(**{**made, **changes})


def make(folder, *, teacher=None, **changes):
    cache = Cache(folder, prepare(folder, manifest(**changes)))
    Filler(cache, teacher or Teacher()).fill("training", source())
    return cache


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("cache") / "cache")


@pytest.fixture
def copy(made, tmp_path):
    """A copy that may be spoilt."""
    return Path(shutil.copytree(made.folder, tmp_path / "copy"))


def test_it_holds_what_the_teacher_sees_in_training(made):
    images, index = source().samples, torch.tensor([7, 0, 10, 3])
    lookup = CachedTeacher(open_cache(made.folder)).on(source())
    torch.testing.assert_close(lookup.clean(index, images), Teacher()(as_input(images[index])))
    for number in (1, 0):
        views = Views(virtual=1, seed=5, padding=1, flip=True)(images[index], index, number)
        torch.testing.assert_close(lookup.views(number, index, views), Teacher()(torch.cat(views)))
    assert lookup.views(0, index[:0], views).embedding.shape == (0, 48)


def test_half_precision_and_no_logits(tmp_path):
    cache = make(tmp_path / "a", teacher=Unnamed(), dtype="float16", widths=[48, 0])
    found = CachedTeacher(cache).on(source()).clean(torch.arange(ROWS), torch.empty(ROWS))
    assert found.logits is None
    torch.testing.assert_close(
        found.embedding, as_input(source().samples).flatten(1), rtol=1e-3, atol=0
    )
    assert cache.state().bytes == ROWS * 5 * 48 * 2


def test_its_state_is_told(made, copy):
    state = made.state()
    assert (state.rows, state.count, state.virtual) == ({"training": ROWS}, 2, 1)
    assert (state.written, state.shards, state.complete) == (15, 15, True)
    assert state.bytes == ROWS * 5 * 50 * 4
    on_disk = sum(p.stat().st_size for p in copy.rglob("*.safetensors"))
    assert state.bytes < on_disk < state.bytes + 15 * 1000
    (copy / "training/real-1/00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="not complete, 14 of 15 files are there"):
        open_cache(copy)


SHARD = "training/real-0/00001.safetensors"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("training/real-0/00002.safetensors", "its first row is 8, and 4 belongs here"),
        ("training/real-1/00001.safetensors", "its view is 'real-1', and 'real-0' belongs here"),
        ("OTHER", "its cache is .*, and .* belongs here"),
        ("cache.json", "damaged or cut short"),
    ],
)
def test_a_swapped_file_is_refused_by_name(other, message, copy, tmp_path):
    if other == "OTHER":
        other = make(tmp_path / "other", weights="v").folder / SHARD
    shutil.copyfile(copy / other, copy / SHARD)
    with pytest.raises(ValueError, match=rf"real-0/00001\.safetensors is .*{message}"):
        open_cache(copy)


def test_a_damaged_file_is_refused_by_name(copy):
    """Every byte counts: the heads, the tables, the checksum."""
    file = copy / SHARD
    content = file.read_bytes()
    for length in (0, 7, 100, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"00001\.safetensors is damaged"):
            open_cache(copy)
    for position in range(0, len(content), 11):
        spoilt = bytearray(content)
        spoilt[position] ^= 1 << position % 8
        file.write_bytes(spoilt)
        with pytest.raises(ValueError, match=r"00001\.safetensors is (damaged|another shard)"):
            open_cache(copy)


def test_tables_of_other_sizes_are_refused(copy):
    """The checksum of a stranger's file is the stranger's: what it holds is looked at, too."""
    cache = open_cache(copy)
    whole = cache.read("training", "real-0", 4)
    for arrays in (
        {"embedding": whole["embedding"]},
        {**whole, "logits": whole["logits"][:3].clone()},
        {**whole, "logits": whole["logits"].half()},
        {**whole, "more": torch.zeros(1)},
    ):
        cache.write("training", "real-0", 4, arrays)
        with pytest.raises(ValueError, match=r"real-0/00001\.safetensors is damaged: its tables"):
            open_cache(copy)


def test_no_link_is_written_through(copy, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (copy / SHARD).unlink()
    for link in (copy / ".cache.json", (copy / SHARD).with_name(".00001.safetensors")):
        link.symlink_to(mine)
    make(copy, count=3)
    assert mine.read_text() == "precious"
    assert open_cache(copy).state().complete


def test_large_caches_are_checked_as_they_are_used(copy, monkeypatch):
    monkeypatch.setattr(cache_module, "READ_AT_ONCE", 0)
    content = bytearray((copy / SHARD).read_bytes())
    content[-1] ^= 1
    (copy / SHARD).write_bytes(content)
    lookup = CachedTeacher(open_cache(copy)).on(source())
    real = [torch.empty(0)]
    lookup.views(0, torch.tensor([0, 10]), real)
    lookup.views(1, torch.arange(ROWS), real)
    with pytest.raises(ValueError, match="its sha256 is not the one it was written with"):
        lookup.views(0, torch.tensor([5]), real)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by Linux's list")
def test_few_files_stay_open(made):
    lookup = CachedTeacher(made).on(source())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        for number in range(2):
            lookup.views(number, torch.arange(ROWS), [torch.empty(0)])
    assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("not JSON", "is damaged"),
        ({"format": 2}, "has format 2, and this asterism reads 1"),
        ({"format": None}, "has format None"),
        ({"shard_rows": 0}, "holds values that no cache has"),
        ({"widths": [48]}, "holds values that no cache has"),
        ({"dtype": "float8"}, "holds values that no cache has"),
        ({"data": {"../x": {}}}, "is damaged|no cache has"),
        ({"count": "8"}, "holds values that no cache has"),
        ({"surprise": 1}, "is damaged"),
        ({"widths": [10**15, 2]}, "holds values that no cache has"),
        ({"image_shape": [3, 10**9, 10**9]}, "holds values that no cache has"),
        ({"count": 10**15}, "holds values that no cache has"),
        ({"shard_rows": 1, "count": 10**6}, "holds values that no cache has"),
        ({"precision": "64"}, "holds values that no cache has"),
        ({"teacher": {"name": "t" * 2**20}}, "has more than 1 MB"),
        ({"teacher": [[]] * 3}, "is damaged"),
        ("[" * 10**5, "is damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(changes, message, copy):
    file = copy / "cache.json"
    content = json.loads(file.read_text())
    file.write_text(changes if type(changes) is str else json.dumps({**content, **changes}))
    with pytest.raises(ValueError, match=rf"cache\.json.* {message}"):
        read_manifest(copy)


def test_other_data_are_refused_naming_both(made):
    teacher = CachedTeacher(made)
    images = source().samples
    more = ArraySource(torch.cat([images, images]))
    with pytest.raises(ValueError, match=r"training data d \(11 rows, .*none for these data \(22"):
        teacher.on(more)
    small = ArraySource(images[:, :, :2, :2].contiguous())
    with pytest.raises(ValueError, match=r"shape \(3, 4, 4\), and the data are .*\(3, 2, 2\)"):
        teacher.on(small)
    assert not teacher.knows(more)
    data = Data(source(), torch.arange(9), torch.arange(9, ROWS), test=more)
    assert teacher.without_absent(data).source is data.source


def test_it_grows_without_computing_anything_again(made, tmp_path):
    folder = tmp_path / "grown"
    make(folder, count=1, virtual=0)
    first = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}
    grown = make(folder)
    assert {p: p.stat().st_mtime_ns for p in first} == first
    assert contents(grown.folder) == contents(made.folder)
    assert make(folder, count=1, virtual=0).manifest == grown.manifest
    with pytest.raises(ValueError, match="was made with view_seed 5, and this is with 6"):
        make(folder, view_seed=6)
    with pytest.raises(ValueError, match="was made with magnitude 9, and this is with 10"):
        prepare(made.folder, manifest(magnitude=10))
    with pytest.raises(ValueError, match="was made with teacher's weights 'w', and this .* 'v'"):
        make(folder, weights="v")
    assert replace(made.manifest, count=9).key() == made.manifest.key()
    for other in ({"operations": 3}, {"crop_area": [0.1, 1.0]}, {"color_jitter": 0.1}):
        assert manifest(**other).key() != made.manifest.key()


def contents(folder):
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}
