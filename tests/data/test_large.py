"""Parquet read by row groups: what is held in memory otherwise, row by row the same."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from asterism import storage
from asterism.data import Loader, large, open_source
from asterism.data.batches import Order, training_order
from asterism.data.source import Blocks

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = 60
TEXTS = [f"text ü {i}" if i % 9 else None if i % 2 else "  " for i in range(ROWS)]
LABELS = {
    "numbers": [i % 3 for i in range(ROWS)],
    "floats": [float(i % 3) if i % 7 else None for i in range(ROWS)],
    "written numbers": [str(i % 3) if i % 7 else "-1" for i in range(ROWS)],
    "names": [("b", " a ", "", "nan", None)[i % 5] for i in range(ROWS)],
    "truths": [i % 2 == 0 for i in range(ROWS)],
    "none": None,
}
WRONG = {
    "a fraction": [i % 3 if i != 41 else 0.25 for i in range(ROWS)],
    "below": [i % 3 if i != 13 else -2 for i in range(ROWS)],
    "a list": [[i] for i in range(ROWS)],
    "ids": [i % 3 for i in range(ROWS)],
}


def written(path, **columns):
    columns = {name: values for name, values in columns.items() if values is not None}
    parquet.write_table(arrow.table(columns), path, row_group_size=7)
    return str(path)


def both(name, monkeypatch):
    """Return the source in memory and the one by row groups."""
    held = open_source(name)
    monkeypatch.setattr(large, "LARGE_ROWS", 10)
    by_groups = open_source(name)
    assert isinstance(by_groups, large.GroupedTexts)
    return held, by_groups


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", [arrow.string(), arrow.large_string()])
def test_texts_by_groups_are_those_in_memory(labels, kind, tmp_path, monkeypatch):
    ids = [None if i == 3 else i // 2 if i in (20, 21) else i for i in range(ROWS)]
    file = written(tmp_path / "a.parquet", text=arrow.array(TEXTS, kind), label=LABELS[labels],
                   id=arrow.array(ids, arrow.int32()))  # fmt: skip
    held, groups = both(file, monkeypatch)
    assert groups.fingerprint() == held.fingerprint()
    assert (groups.names, groups.unusable, groups.notes) == (held.names, held.unusable, held.notes)
    assert (groups.targets is None) == (held.targets is None)
    assert groups.targets is None or torch.equal(groups.targets, held.targets)
    assert [groups.name_of(i) for i in range(ROWS)] == [held.name_of(i) for i in range(ROWS)]
    rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0)).tolist()
    for source in (groups, pickle.loads(pickle.dumps(groups))):
        mine, theirs = source.__getitems__(rows), held.__getitems__(rows)
        assert mine.views == theirs.views
        assert mine.broken == theirs.broken
        assert torch.equal(mine.index, theirs.index)
    assert groups.blocks.ends == (7, 14, 21, 28, 35, 42, 49, 56, 60)


@pytest.mark.parametrize("wrong", WRONG)
def test_the_same_is_refused_in_the_same_words(wrong, tmp_path, monkeypatch):
    columns = {"id" if wrong == "ids" else "label": WRONG[wrong]}
    file = written(tmp_path / "a.parquet", text=[str(i) for i in range(ROWS)], **columns)
    said = []
    for rows in (1000, 10):
        monkeypatch.setattr(large, "LARGE_ROWS", rows)
        with pytest.raises(ValueError, match="a.parquet") as refused:
            open_source(file)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_store_is_read_group_by_group(tmp_path, monkeypatch):
    file = written(tmp_path / "a.parquet", text=TEXTS)
    there = storage.place("memory://bucket/a.parquet")
    storage.write(there, (tmp_path / "a.parquet").read_bytes())
    held, _ = both(file, monkeypatch)
    source = open_source(str(there))
    assert source.fingerprint() == held.fingerprint()
    assert source.__getitems__([59, 1]).views == held.__getitems__([59, 1]).views
    storage.remove(storage.place("memory://bucket"))


def test_the_order_by_blocks_has_each_row_once_and_few_blocks_at_a_time():
    blocks = Blocks(tuple(range(10, 201, 10)), 4)
    rows = torch.arange(200)[torch.arange(200) % 5 != 0]
    order = Order(rows, 8, seed=1, blocks=blocks)
    passes = [torch.cat(list(order.of_pass(number))) for number in (0, 0, 1)]
    assert torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])
    for each in passes:
        assert torch.equal(each.sort().values, rows)
        for pool in each.split(8 * 4):
            assert len(torch.unique(pool // 10)) == 4
        assert (each[1:] // 10 != each[:-1] // 10).float().mean() > 0.6  # mixed, not in turn
    order.begin(1, 7)
    assert [x for batch in order for x in batch] == passes[2][7 * 8 :].tolist()
    with pytest.raises(ValueError, match="samples_per_class takes rows from everywhere"):
        training_order(rows, 8, seed=0, targets=rows, per_class=2, blocks=blocks)


@pytest.mark.parametrize("form", ["struct", "binary"])
@pytest.mark.parametrize("blocks", [True, False])
def test_pictures_kept_as_bytes_are_the_pictures(form, blocks, tmp_path, monkeypatch):
    monkeypatch.setattr(large, "KEPT_BYTES", 0 if blocks else 2**27)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 12, 9, 3), "uint8")
    cells = []
    for i, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"{i:02}.png")
        cells.append((tmp_path / f"{i:02}.png").read_bytes())
    held = open_source(tmp_path, image_size=8)
    cells[4], cells[11] = b"no picture", None
    if form == "struct":
        cells = [{"bytes": x, "path": f"{i}.png"} for i, x in enumerate(cells)]
    file = written(tmp_path / "a.parquet", image=cells, label=[i % 4 for i in range(20)])
    source = open_source(file, image_size=8)
    assert (source.blocks is not None) == blocks
    assert (source.shape, source.found_size) == ((3, 8, 8), (9, 12))
    good = [i for i in range(20) if i not in (4, 11)]
    expected = held.__getitems__(good).views[0]
    batches = list(Loader(source, iter([list(range(10)), list(range(10, 20))]), workers=1))
    assert torch.equal(torch.cat([batch.views[0] for batch in batches]), expected)
    assert torch.cat([batch.target for batch in batches]).tolist() == [i % 4 for i in good]
    named = [name for batch in batches for name in batch.broken]
    assert f"{file}, row 5 (cannot identify image file of these bytes)" in named
    assert named[1].startswith(f"{file}, row 12 (no ")
