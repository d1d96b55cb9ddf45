"""Tests for asterism/data/loading.py and cache.py."""

import torch

from asterism import Outputs
from asterism.data import ArraySource, Loader
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
