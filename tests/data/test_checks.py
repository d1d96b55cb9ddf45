"""Tests for asterism/data/checks.py and of what sources refuse: labels, parts, pictures."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from asterism.cli import main
from asterism.data import open_data, open_source


def images(n=12, shape=(4, 4)):
    return np.random.default_rng(0).integers(256, size=(n, *shape), dtype=np.uint8)


def npz(path, y=None, n=12, shape=(4, 4), **more):
    arrays = {"x": images(n, shape), **more} | ({} if y is None else {"y": np.asarray(y)})
    np.savez(path, **arrays)
    return str(path)


def picture(path, value=128, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8), value).save(path)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint16, np.float32, np.float64, bool])
def test_whole_numbers_of_any_kind_are_labels(tmp_path, kind):
    labels = np.arange(12) % 2
    source = open_data(npz(tmp_path / "a.npz", labels.astype(kind)), validation_share=0.5).source
    assert source.targets.tolist() == labels.tolist()
    assert source.targets.dtype == torch.int64


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(12, 0.5), "row 1 of PLACE, 0.5 is no whole number"),
        (np.r_[np.zeros(11), np.inf], "row 12 of PLACE, inf is no whole number"),
        (np.arange(12) + 1, "without gaps; got 12 different ones from 1 to 12. Number them anew"),
        (np.arange(12) % 3 * 2, "without gaps; got 3 different ones from 0 to 4"),
        (np.arange(12) + 10**9, "1000000000 is no number of a class. Number the classes"),
        (np.arange(12) - 2, "row 1 of PLACE, -2 is below 0 (-1 alone means no label)"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(tmp_path, labels, message):
    path = npz(tmp_path / "a.npz", labels)
    with pytest.raises(ValueError, match=re.escape(message.replace("PLACE", path))):
        open_data(path)
    dataset = TensorDataset(torch.from_numpy(images()[:, None]), torch.from_numpy(labels))
    with pytest.raises(ValueError, match=re.escape(message.replace("PLACE", "the dataset"))):
        open_data(dataset)


def test_named_classes_may_be_without_samples(tmp_path):
    names = np.array(list("abcde"))
    path = npz(tmp_path / "a.npz", np.arange(12) % 2 * 4, names=names)
    assert open_data(path, validation_share=0.5).classes == 5


@pytest.mark.parametrize("part", ["validation", "test"])
def test_parts_of_other_images_are_refused(tmp_path, part):
    names = np.array(["cat", "dog", "eel"])
    training = npz(tmp_path / "train.npz", np.arange(12) % 3, names=names)
    path = npz(tmp_path / "other.npz", shape=(5, 4))
    message = r"images of shape \(1, 5, 4\), the training data images of shape \(1, 4, 4\)"
    with pytest.raises(ValueError, match=message):
        open_data(training, validation_share=0.5, **{part: path})
    fewer = npz(tmp_path / "other.npz", y=np.zeros(12))  # numbers without names, not all of them
    data = open_data(training, validation_share=0.5, **{part: fewer})
    data.refuse_useless(use_labels=True, broken=False)
    data = open_data(training, validation_share=0.5, **{part: npz(tmp_path / "other.npz")})
    data.refuse_useless(use_labels=False, broken=False)
    with pytest.raises(ValueError, match=f"the {part} data have no labels, and the training data"):
        data.refuse_useless(use_labels=True, broken=False)


def test_one_class_or_nothing_readable_is_refused_before_training(tmp_path, capsys):
    for i in range(20):
        picture(tmp_path / "one" / "all" / f"{i}.png", 10 * i)
        (tmp_path / "broken").mkdir(exist_ok=True)
        (tmp_path / "broken" / f"{i}.png").write_bytes(b"no picture")
    teacher = tmp_path / "teacher"
    digits = ["--model", "convnet", "--data", "digits", "--limit-steps", "1"]
    assert main(["train", *digits, "--out", str(teacher)]) == 0
    for data, message in (
        (["--data", str(tmp_path / "one")], "all training data are of one class, all: labels"),
        (["--data", str(tmp_path / "broken")], "none of the 18 training samples can be read; the"),
        (
            ["--data", str(tmp_path / "one"), "--test-data", str(tmp_path / "broken"),
             "--labels", "false"],
            "none of the 20 test samples can be read; the first: ",
        ),
    ):  # fmt: skip
        capsys.readouterr()
        words = ["distill", "--teacher", f"mlp?weights={teacher}", "--student", "mlp", *data]
        words[2] = "benchmarks/cifar.py:resnet_a"  # takes pictures in three colours
        assert main([*words, "--out", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_pictures_beside_class_folders_are_refused_and_hidden_files_are_none(tmp_path):
    for name in ("cat/0.png", "dog/0.png"):
        picture(tmp_path / name)
    for name in ("._stray.png", "cat/.hidden.png", "__MACOSX/cat/._0.png", ".cache/0.png"):
        picture(tmp_path / name)
    (tmp_path / "dog" / "Thumbs.db").write_bytes(b"")
    source = open_source(tmp_path)
    assert source.names == ("cat", "dog")
    assert len(source) == 2
    picture(tmp_path / "stray.png")
    with pytest.raises(ValueError, match=r"class folders, and pictures beside them \(stray\.png\)"):
        open_source(tmp_path)


def test_sixteen_bits_keep_their_shades(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    (view,) = open_source(tmp_path, image_size=8).__getitems__([0]).views
    assert np.abs(view[0, 0].numpy() - ramp / 257.0).max() <= 1


class Spread(Dataset):
    """Samples of which all but one are black; or noise, new each time."""

    def __init__(self, white=None, label=0, noise=False):
        self.white, self.label, self.noise = white, label, noise

    def __len__(self):
        return 160

    def __getitem__(self, i):
        image = torch.rand(1, 2, 2) if self.noise else torch.full((1, 2, 2), float(i == self.white))
        return image, self.label if i == 90 else i % 2


def test_a_datasets_fingerprint_sees_samples_and_labels_all_over_the_set():
    found = [
        open_source(Spread(**options)).fingerprint()
        for options in ({}, {}, {"white": 159}, {"white": 84}, {"label": 1})
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 4
    noise = [open_source(Spread(noise=True)).fingerprint() for _ in range(2)]
    assert noise[0] == noise[1]  # a user's own augmentation is no other data


@pytest.mark.parametrize("training", ["d.npz", "d.csv", "d.npy"])
@pytest.mark.parametrize("other", ["d.npz", "d.csv", "d.npy"])
def test_data_of_another_kind_are_told_as_such_whatever_their_classes(training, other, tmp_path):
    y = np.arange(40) % 2
    np.savez(tmp_path / "d.npz", x=np.zeros((40, 6, 6), np.uint8), y=y, names=["a", "b"])
    np.save(tmp_path / "d.npy", np.zeros((40, 5), np.float32))
    rows = "".join(f"text {i},{i % 3}\n" for i in range(40))
    (tmp_path / "d.csv").write_text(f"text,label\n{rows}")
    given = {"test": tmp_path / other}
    if training == other:
        assert open_data(tmp_path / training, **given).test is not None
        return
    with pytest.raises(ValueError, match="the training data .*: both must be the same"):
        open_data(tmp_path / training, **given)
