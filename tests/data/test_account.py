"""Tests for asterism/data/account.py: whatever lies in a source is used, or counted by reason."""

import json
import os
import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

from asterism import recipe
from asterism.data import account_of, open_data, open_source
from asterism.data.table import PictureTable
from asterism.doctor import check_quickly
from asterism.doctor.data import check_resizing
from asterism.report import write_report
from asterism.request import Request
from asterism.run import Run
from asterism.training import open_training

CELLS = st.sampled_from(["good", "", " ", None, 3, "caf\u00e9", "\ud83d", "a,b", 'say "x"'])
LABELS = st.sampled_from(["cat", "dog", "eel", "", None, "none"])
IDS = st.sampled_from(["one", "two", None, "", 7, 7.0])
ROWS = st.lists(st.tuples(CELLS, LABELS, IDS), max_size=12)
# Enough rows that can be used, whatever the others are.
GOOD = [(f"text {i}", ["cat", "dog"][i % 2], f"id {i}") for i in range(20)]


def csv_of(rows, path):
    lines = []
    for cells in rows:
        texts = ["" if x is None else str(x).replace("\ud83d", "") for x in cells]
        lines.append(",".join('"' + x.replace('"', '""') + '"' for x in texts))
    path.write_text("\n".join(["text,label,id", *lines, "x,y", "", "a,cat,b,c", ""]), "utf-8")
    return str(path), len(rows) + 3  # one line with too few cells, one with too many, a blank one


def jsonl_of(rows, path):
    lines = [json.dumps(dict(zip(("text", "label", "id"), cells, strict=True))) for cells in rows]
    lines += ["[1]", "", '{"text": "a", "text": "b"}', "nonsense"]
    path.write_bytes(("\n".join(lines) + "\n").encode() + b'{"text": "caf\xe9"}\n')
    return str(path), len(rows) + 5


def list_of(rows, path):
    return [cells[:2] for cells in rows], len(rows)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS, write=st.sampled_from([csv_of, jsonl_of, list_of]), seed=st.integers(0, 9))
def test_rows_in_are_rows_used_and_rows_named(rows, write, seed, tmp_path):
    rows = [*rows, *GOOD]
    random.Random(seed).shuffle(rows)
    end = {csv_of: ".csv", jsonl_of: ".jsonl"}.get(write, "")
    given_data, found = write(rows, tmp_path / f"a{end}")
    data = open_data(given_data)
    (account,) = account_of(data, size_by="pictures").sources
    assert account.found == found
    assert sum(account.used.values()) + sum(account.left_out.values()) == found
    batch = data.source.__getitems__(range(len(data.source)))
    assert len(batch.index) == sum(account.used.values()) == len(data.train) + len(data.validation)
    assert len(batch.broken) == len(data.source.unusable)
    assert not set(data.train.tolist()) & set(data.validation.tolist())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes, and whatever else may lie about."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for name, end, number in (("cat", "png", 12), ("dog", "jfif", 8), ("owl", "ppm", 4)):
        (folder / name).mkdir()
        for i in range(number):
            pixels = draw.integers(256, size=(60, 80, 3), dtype=np.uint8)
            kind = {"jfif": "JPEG"}.get(end)
            Image.fromarray(pixels).save(folder / name / f"{i}.{end}", format=kind)
    for name in ("cat/a.txt", "cat/b.txt", "cat/.DS_Store", "dog/Thumbs.db", "README"):
        (folder / name).write_bytes(b"x")
    for name in ("@eaDir/cat", "__MACOSX", "fox", ".hidden"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png" if name != "fox" else folder / name / "0.eps").write_bytes(b"x")
    (folder / "dog" / "7.png").mkdir()  # a folder, as thumbnails have them
    os.mkfifo(folder / "owl" / "pipe.png")
    (folder / "owl" / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "itself").symlink_to("itself")
    (folder / "cat" / "round").symlink_to("..")
    (folder / "owl" / "broken.png").write_bytes(b"no picture")
    return folder


def test_files_in_a_folder_are_pictures_or_counted(pictures):
    data = open_data(str(pictures))
    account = account_of(data, size_by="pictures")
    source = account.sources[0]
    assert data.source.names == ("cat", "dog", "owl")
    assert source.left_out == {
        "hidden or system files": 2, ".txt files": 2, "links to nothing, pipes or devices": 3,
        "files without an ending": 1, ".eps files": 1,
    }  # fmt: skip
    assert source.found == 34
    assert sum(source.used.values()) == 25
    assert (account.found_size, account.size) == ((80, 60), 60)
    lines = account.lines()
    assert lines[0].startswith(
        "25 images in 3 classes (5 training samples of 'owl' to 11 of 'cat')"
    )
    assert "folders without a picture, which are no classes: fox" in lines
    assert "images of 80×60 (median) brought to 60×60, their own up to 224 (--image-size)" in lines


def test_pictures_keep_their_size_up_to_224_and_what_is_thrown_away_is_remarked(tmp_path):
    for i in range(20):
        (tmp_path / "all" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (60, 50), (10 * i, 0, 0))
        picture.save(tmp_path / "all" / "ab"[i % 2] / f"{i}.png")
    Image.new("RGB", (500, 400)).save(tmp_path / "large.png")
    data = str(tmp_path / "all")
    assert open_source(data).shape == (3, 50, 50)
    assert PictureTable([tmp_path / "large.png"]).shape == (3, 224, 224)
    for size, told in ((32, 1), (40, 0)):
        training = open_training(Request(student="mlp", data=data, image_size=size))
        looks = [f for f in check_quickly(training) if f.subject == "size of the pictures"]
        assert len(looks) == told
    assert training.request.image_size == 40
    looks = check_resizing(open_training(Request(student="mlp", data=data, image_size=20)))
    assert looks[0].found == "60×50 (median) brought to 20×20: 2.5 times smaller"
    assert "--image-size 50" in looks[0].advice


class Items:
    """A dataset of one's own, one of whose items cannot be read."""

    def __init__(self, *, broken=7, **attributes):
        self.broken = broken
        self.__dict__ |= attributes

    def __len__(self):
        return 40

    def __getitem__(self, i):
        if i == self.broken:
            raise OSError("cannot identify image file '7.jpg'")
        return torch.full((3, 8, 8), i, dtype=torch.uint8), i % 4


def test_the_account_is_printed_kept_and_shown(tmp_path, capsys):
    options = {"epochs": 1, "batch_size": 8, "overwrite": True, "check": False}
    dataset = Items(targets=[i % 4 for i in range(40)])
    recipe.train("mlp", dataset, out=tmp_path / "run", **options)
    assert (
        "data: 40 images in 4 classes (9 training samples each): 36 for training and 4 for val"
        in (capsys.readouterr().err)
    )
    kept = Run(tmp_path / "run").read_result()["data"]
    assert kept["sources"][0]["unreadable"] == 1
    assert kept["sources"][0]["found"] == sum(kept["sources"][0]["used"].values()) == 40
    assert "1 of them could not be read" in kept["lines"]
    page = write_report([tmp_path / "run"], tmp_path / "page.html").read_text()
    assert "1 of them could not be read" in page
    # Labels that have to be fetched leave the item out before the training begins.
    source = open_source(Items())
    assert list(source.unusable) == [7]
    assert account_of(open_data(Items()), size_by="user").sources[0].left_out == {"unreadable": 1}


@pytest.mark.parametrize(
    ("attributes", "names", "note"),
    [
        ({"classes": 4}, tuple("0123"), "`classes` of the dataset is no list of names: 4"),
        ({"classes": list("abcd")}, tuple("abcd"), None),
        ({"targets": [(i + 1) % 4 for i in range(40)]}, tuple("0123"), "differ from its items"),
        ({"targets": [0, 1, 2, 3]}, tuple("0123"), "differ from its items"),
    ],
)
def test_items_are_believed_rather_than_what_stands_beside_them(attributes, names, note):
    source = open_source(Items(broken=None, **attributes))
    assert source.names == names
    assert source.targets.tolist() == [i % 4 for i in range(40)]
    assert (note is None) == (source.notes == ())
    assert note is None or note in source.notes[0]


def test_a_dataloader_gives_the_rows_of_its_sampler():
    data = TensorDataset(
        torch.arange(40).byte()[:, None, None, None].expand(40, 3, 8, 8), torch.arange(40) % 2
    )
    some = DataLoader(data, batch_size=4, sampler=SubsetRandomSampler([30, 2, 17]))
    assert open_source(some).__getitems__(range(3)).views[0][:, 0, 0, 0].tolist() == [30, 2, 17]
    for loader in (DataLoader(data, shuffle=True), DataLoader(data, batch_size=None)):
        assert len(open_source(loader)) == 40
    drawn = DataLoader(data, sampler=WeightedRandomSampler([1.0] * 40, 10))
    with pytest.raises(ValueError, match=r"by a WeightedRandomSampler.*utils\.data\.Subset"):
        open_source(drawn)
    assert "collate_fn is not used" in open_source(DataLoader(data, collate_fn=list)).notes[0]


def test_small_classes_give_their_share_together(tmp_path):
    y = np.repeat(np.arange(200), 5)
    np.savez(tmp_path / "a.npz", x=np.zeros((1000, 2), np.float32), y=y)
    data = open_data(str(tmp_path / "a.npz"))
    assert (len(data.train), len(data.validation)) == (900, 100)
    assert np.bincount(y[data.validation], minlength=200).max() == 1


def test_pictures_of_more_than_8_bits_by_their_declared_range(tmp_path):
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    kinds = {
        "float": ramp.astype("f4"),
        "many": (4000 * ramp).astype("f4"),
        "int": np.eye(8, dtype="i4"),
    }
    for name, pixels in kinds.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.tif")
    twelve = Image.fromarray((4095 * ramp).astype("u2"))
    twelve.save(tmp_path / "twelve.tif", tiffinfo={281: 4095})
    batch = open_source(tmp_path, image_size=8).__getitems__(range(4))
    for shown in batch.views[0]:
        assert np.abs(shown[0].numpy() - 255 * ramp).max() <= 1
    assert len(batch.index) == 2
    assert "whole numbers of 32 bits" in batch.broken[0]
    assert "floats from 0 to 4e+03: pictures of floats must lie in [0, 1]" in batch.broken[1]
