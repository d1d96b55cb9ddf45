"""Tests for asterism/data: sources, folders, splits."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from asterism.data import open_data, open_source
from asterism.data.table import PictureTable


def picture(path, colour=(200, 30, 30), size=(20, 12), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("cat", (255, 0, 0)), ("dog", (0, 0, 255))):
        for i in range(6):
            picture(tmp_path / "pictures" / name / f"{i}.jpg", colour)
    return tmp_path / "pictures"


def test_digits_come_with_their_own_test_part():
    data = open_data("digits")
    assert (len(data.source), len(data.test), data.classes) == (1297, 500, 10)
    assert data.source.shape == (1, 8, 8)
    assert not data.source.flip
    source, rows, split = data.evaluation()
    assert (len(source), len(rows), split) == (500, 500, "test")


def test_split_is_seeded_and_takes_the_same_share_of_every_class():
    one, two, other = (open_data("digits", split_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.validation, two.validation)
    assert not torch.equal(one.validation, other.validation)
    assert not set(one.train.tolist()) & set(one.validation.tolist())
    assert len(one.train) + len(one.validation) == 1297
    share = one.source.targets[one.validation].bincount() / one.source.targets.bincount()
    assert share.min() > 0.09
    assert share.max() < 0.11


@pytest.mark.parametrize("shape", [(9, 5, 4), (9, 5, 4, 3), (9, 3, 5, 4)])
def test_npz_in_any_layout(tmp_path, shape):
    x = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(9) % 3)
    source = open_source(str(tmp_path / "a.npz"))
    batch = source.__getitems__([4, 2])
    assert source.shape == (1 if len(shape) == 3 else 3, 5, 4)
    assert batch.target.tolist() == [1, 2]
    image = x[4] if len(shape) == 3 or shape[1] == 3 else x[4].transpose(2, 0, 1)
    assert np.array_equal(batch.views[0][0].numpy().squeeze(), image)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(3)}, "must hold the samples as `x`.*holds y"),
        ({"x": np.zeros((3, 4, 4), int)}, "must be uint8 images.*or float arrays.*got int64"),
        ({"x": np.zeros((3, 4, 4, 3))}, r"images, or arrays\? .* write .*a.npz\?kind=array"),
        ({"x": np.full((3, 4), np.nan)}, "sample 0 is not finite"),
        ({"x": np.zeros((0, 4, 4), np.uint8), "y": np.zeros(0, int)}, "a.npz holds no sample"),
        ({"x": np.zeros((3, 4, 4), np.uint8), "y": np.zeros(2, int)}, r"shape \(3,\)"),
        ({"x": np.uint8(5), "y": np.zeros(2, int)}, r"has `x` of shape \(\)"),
        ({"x": np.zeros((3, 4, 4, 0), np.uint8)}, r"has `x` of shape \(3, 4, 4, 0\).*no side may"),
        ({"x": np.zeros((3, 4), "f4"), "y": np.zeros(3), "names": "abc"}, "has `names` of shape"),
        (
            {"x": np.zeros((3, 4), "f4"), "y": np.zeros(3), "names": np.array(["a", "a"])},
            "names of the classes in .* must differ; 'a' comes twice",
        ),
    ],
)
def test_npz_says_what_is_wrong(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        open_source(str(tmp_path / "a.npz"))


def test_npz_never_unpickles_and_may_be_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="Python objects, which are never loaded"):
        open_source(str(tmp_path / "a.npz"))
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(ValueError, match="cannot read .*b.npz"):
        open_source(str(tmp_path / "b.npz"))


def test_folder_of_classes(folder):
    source = open_source(folder, image_size=8)
    assert source.names == ("cat", "dog")
    assert source.targets.tolist() == [0] * 6 + [1] * 6
    batch = source.__getitems__([0, 11])
    assert batch.views[0].shape == (2, 3, 8, 8)
    red, blue = batch.views[0].float().mean((2, 3))
    assert red[0] > 240
    assert blue[2] > 240


def test_parts_of_the_data_are_no_classes(folder, tmp_path):
    """Else a student of the folder above would learn to tell training from validation pictures."""
    for part in ("Train", "val"):
        shutil.copytree(folder, tmp_path / "all" / part)
    with pytest.raises(ValueError, match="holds the folders Train, val, which look like parts"):
        open_source(tmp_path / "all")
    assert open_source(tmp_path / "all" / "Train").names == ("cat", "dog")
    picture(tmp_path / "all" / "unlabeled" / "0.jpg")
    with pytest.raises(ValueError, match="holds the folders Train, val, which look like parts"):
        open_source(tmp_path / "all")
    shutil.rmtree(tmp_path / "all" / "val")  # a locomotive is a train
    assert open_source(tmp_path / "all").names == ("Train", "unlabeled")


def test_names_of_any_bytes(folder):
    """An archive from another system may hold names that are no UTF-8."""
    strange = os.fsdecode(b"f\xe9\xff.jpg")
    shutil.copy(folder / "cat" / "0.jpg", folder / "cat" / strange)
    source = open_source(folder, image_size=8)
    assert f"cat/{strange}" in source.ids
    assert len(source.fingerprint()) == 16
    assert len(PictureTable([folder / "cat" / strange], image_size=8).fingerprint()) == 16


def test_flat_folder_has_no_labels(tmp_path):
    for i in range(3):
        picture(tmp_path / f"{i}.png")
    assert open_source(tmp_path).targets is None


def test_pictures_of_every_kind_come_out_alike(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    picture(tmp_path / "0.jpg", exif=exif)
    picture(tmp_path / "1.png", mode="L")
    picture(tmp_path / "2.jpg", mode="CMYK")
    picture(tmp_path / "3.png", mode="RGBA")
    picture(tmp_path / "4.png", mode="P", size=(300, 2))
    Image.new("RGB", (9, 9)).save(tmp_path / "5.jpg", format="PNG")  # a wrong ending
    batch = open_source(tmp_path, image_size=6).__getitems__(range(6))
    assert batch.broken == ()
    assert batch.views[0].shape == (6, 3, 6, 6)


def test_exif_rotation_is_undone(tmp_path):
    image = Image.new("RGB", (8, 8))
    image.paste((255, 255, 255), (0, 0, 8, 4))  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "a.png", exif=exif)
    (view,) = open_source(tmp_path, image_size=8).__getitems__([0]).views
    assert view[0, 0, 0].float().mean() < 50
    assert view[0, 0, -1].float().mean() > 200


def test_broken_pictures_are_left_out_and_named(folder):
    (folder / "cat" / "3.jpg").write_bytes(b"not a picture")
    whole = (folder / "dog" / "0.jpg").read_bytes()
    (folder / "dog" / "0.jpg").write_bytes(whole[: len(whole) // 2])
    data = open_data(str(folder), image_size=8, validation_share=0.2)
    batch = data.source.__getitems__(range(12))
    assert len(batch.index) == 10
    assert batch.target.tolist() == [0] * 5 + [1] * 5
    assert [name.split("/")[-2:] for name in (b.split(" (")[0] for b in batch.broken)] == [
        ["cat", "3.jpg"],
        ["dog", "0.jpg"],
    ]
    with pytest.raises(ValueError, match=r"2 samples cannot be read: .*3\.jpg.*--on-broken skip"):
        data.refuse_broken()


def test_missing_and_empty_places(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is nothing at .*nix: name `digits`"):
        open_source(str(tmp_path / "nix"))
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        open_source(tmp_path)
    (tmp_path / "a.doc").write_text("")
    with pytest.raises(ValueError, match=r"data are `digits`, a folder of pictures, an \.npz file"):
        open_source(tmp_path / "a.doc")


def test_a_dataset_and_a_dataloader_of_the_users():
    images, targets = torch.rand(10, 3, 4, 4), torch.arange(10) % 2
    dataset = TensorDataset(images, targets)
    for given in (dataset, DataLoader(dataset, batch_size=3)):
        source = open_source(given)
        assert source.augmented  # float images: the user's own transforms
        batch = source.__getitems__([7, 2])
        assert torch.equal(batch.views[0], images[[7, 2]])
        assert batch.target.tolist() == [1, 0]
    unlabelled = open_source(TensorDataset((images * 255).byte()))
    assert unlabelled.targets is None
    assert not unlabelled.augmented


def test_a_dataset_without_random_access_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(ValueError, match="integer indexing, so that samples.*got Stream"):
        open_source(Stream())
    with pytest.raises(ValueError, match=r"first item has the shape \(4,\) and is torch.int64"):
        open_source(TensorDataset(torch.arange(12).view(3, 4)))


def test_too_few_samples_to_split():
    dataset = TensorDataset(torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="3 samples are too few.*give separate data"):
        open_data(dataset)
