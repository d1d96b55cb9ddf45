"""Tests for asterism/data/loading.py and cache.py."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from asterism import Outputs
from asterism.data import ArraySource, FolderSource, Loader
from asterism.data.cache import TeacherCache
from asterism.data.loading import Order


def test_order_is_a_pure_function_of_seed_and_epoch():
    rows = torch.arange(100, 130)
    one, two = Order(rows, 8, seed=3), Order(rows, 8, seed=3)
    two.set_epoch(1)
    second = list(two)
    assert list(one) != second
    one.set_epoch(1)
    assert list(one) == second
    assert sorted(sum(second, [])) == rows.tolist()
    assert list(Order(rows, 8, seed=4)) != list(Order(rows, 8, seed=3))
    assert sum(Order(rows, 8, seed=None), []) == rows.tolist()


def test_last_batch():
    rows = torch.arange(10)
    assert [len(b) for b in Order(rows, 4, seed=0)] == [4, 4, 2]
    dropped = Order(rows, 4, seed=0, drop_last=True)
    assert [len(b) for b in dropped] == [4, 4]
    assert len(dropped) == 2
    # Fewer samples than one batch are one batch, not none.
    assert [len(b) for b in Order(rows, 64, seed=0, drop_last=True)] == [10]


def test_loader_gives_whole_batches_of_the_source():
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 1, 2, 2)
    source = ArraySource(images.contiguous(), torch.arange(6) % 2)
    (first, second) = Loader(source, Order(torch.tensor([5, 1, 3]), 2, seed=None))
    assert first.index.tolist() == [5, 1]
    assert first.views[0][:, 0, 0, 0].tolist() == [5, 1]
    assert second.target.tolist() == [1]


class Teacher:
    def __init__(self):
        self.rows = 0

    def __call__(self, images):
        self.rows += len(images)
        return Outputs(images.flatten(1), images.flatten(1)[:, :2] * 10)


def test_cache_computes_each_row_once(tmp_path):
    images, index = torch.rand(4, 1, 2, 2), torch.tensor([7, 0, 3, 5])
    like = Outputs(torch.zeros(1, 4), torch.zeros(1, 2))
    teacher = Teacher()
    expected = Teacher()(images)
    for _ in range(2):  # the second time from disk
        cache = TeacherCache(tmp_path, {"teacher": "a"}, rows=8, like=like)
        part = cache.outputs(2, index[1:3], teacher, images[1:3])
        torch.testing.assert_close(part, Outputs(*(x[1:3] for x in expected)))
        torch.testing.assert_close(cache.outputs(2, index, teacher, images), expected)
    assert teacher.rows == 4
    assert (cache.found, cache.computed) == (6, 0)
    cache.outputs(1, index, teacher, images)  # another view
    other = TeacherCache(tmp_path, {"teacher": "b"}, rows=8, like=like)
    other.outputs(2, index, teacher, images)  # another teacher
    assert teacher.rows == 12


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by Linux's list")
def test_cache_keeps_few_files_open_however_many_epochs(tmp_path):
    cache = TeacherCache(tmp_path, {}, rows=2, like=Outputs(torch.zeros(1, 4)))
    images, index = torch.rand(2, 1, 2, 2), torch.tensor([0, 1])
    before = len(os.listdir("/proc/self/fd"))
    for view in range(50):
        cache.outputs(view, index, lambda x: Outputs(x.flatten(1)), images)
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_loader_remembers_what_could_not_be_read(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    Image.new("L", (4, 4)).save(tmp_path / "2.png")
    source = FolderSource(tmp_path, image_size=4)
    for workers in (0, 2):
        source.broken = ()
        loader = Loader(source, Order(torch.arange(5), 2, seed=None), workers=workers)
        for _ in range(2):
            assert sum(len(batch.index) for batch in loader) == 1
        assert [Path(name.split(" ")[0]).name for name in source.broken] == [
            "0.png", "1.png", "3.png", "4.png"
        ]  # fmt: skip


def test_cache_of_a_teacher_without_logits_and_longer_runs(tmp_path):
    like = Outputs(torch.zeros(1, 4))
    teacher = Teacher()
    images, index = torch.rand(2, 1, 2, 2), torch.tensor([0, 1])

    def compute(x):
        return Outputs(teacher(x).embedding)

    TeacherCache(tmp_path, {}, rows=2, like=like).outputs(0, index, compute, images)
    longer = TeacherCache(tmp_path, {}, rows=2, like=like)
    assert longer.outputs(0, index, compute, images).logits is None
    assert teacher.rows == 2
