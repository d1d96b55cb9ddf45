"""Tests for asterism/data/loading.py."""

from pathlib import Path

import torch
from PIL import Image

from asterism.data import ArraySource, FolderSource, Loader
from asterism.data.batches import Order


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
