"""Classes of validation and test data under the training data's numbers, and kept from training."""

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.data import open_data


def npz(path, y, names=None):
    x = np.arange(len(y), dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    np.savez(path, x=x, y=np.asarray(y), **({} if names is None else {"names": np.array(names)}))
    return str(path)


def folder(path, classes):
    for name in classes:
        for i in range(4):
            (path / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 10 * i).save(path / name / f"{i}.png")
    return str(path)


def csv(path, classes):
    path.write_text("text,label\n" + "".join(f"a {i},{c}\n" for c in classes for i in range(4)))
    return str(path)


MAKE = {
    "npz": lambda path, classes: npz(
        path.with_suffix(".npz"), np.arange(4 * len(classes)) // 4, classes
    ),
    "folder": folder,
    "csv": lambda path, classes: csv(path.with_suffix(".csv"), classes),
}


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize(
    ("classes", "numbers"),
    [
        (["cat", "dog", "eel"], [0, 1, 2]),
        (["eel"], [2]),
        (["ant", "bat"], [3, 4]),
        (["ant", "dog", "zoo"], [3, 1, 4]),
    ],
)
def test_classes_are_matched_by_name_and_new_ones_follow(kind, part, classes, numbers, tmp_path):
    training = MAKE[kind](tmp_path / "a", ["cat", "dog", "eel"])
    other = MAKE[kind](tmp_path / "b", classes)
    data = open_data(training, validation_share=0.5, image_size=4, **{part: other})
    source = data.test if part == "test" else data.validation_source
    assert data.classes == 3
    rows = [4 * i for i in range(len(classes))]
    assert source.targets[rows].tolist() == numbers
    assert source.__getitems__(rows).target.tolist() == numbers
    assert [source.names[i] for i in numbers] == classes
    assert data.selects_by_new_classes == (part == "validation" and max(numbers) > 2)


def test_numbers_without_names_are_matched_by_number(tmp_path):
    named = npz(tmp_path / "a.npz", np.arange(12) % 3, ["cat", "dog", "eel"])
    bare = npz(tmp_path / "b.npz", np.arange(12) % 5)
    for training, other in ((named, bare), (npz(tmp_path / "c.npz", np.arange(12) % 3), bare)):
        data = open_data(training, validation_share=0.5, test=other)
        assert data.test.targets.tolist() == (np.arange(12) % 5).tolist()
        assert data.test.names[3:] == ("3", "4")
    own = open_data(bare, validation_share=0.5, test=npz(tmp_path / "d.npz", [5, 5, 7, 7])).test
    assert [own.names[i] for i in own.targets] == ["5", "5", "7", "7"]
    assert own.targets.min() == 5


def test_whole_classes_are_kept_for_validation(tmp_path):
    y = np.repeat(np.arange(20), 6)
    path = npz(tmp_path / "a.npz", y, [f"class {i}" for i in range(20)])
    data = open_data(path, validation_classes=0.2)
    assert data.classes == 16
    targets = data.source.targets
    assert torch.unique(targets[data.train]).tolist() == list(range(16))
    assert torch.unique(targets[data.validation]).tolist() == list(range(16, 20))
    assert len(data.train) + len(data.validation) == 120
    for row in range(0, 120, 6):  # each row keeps its name
        assert data.source.names[targets[row]] == f"class {y[row]}"
    assert data.source.fingerprint() == open_data(path).source.fingerprint()
    bare = npz(tmp_path / "bare.npz", np.arange(22))  # numbered as the training data were
    test = open_data(path, validation_classes=0.2, test=bare).test
    assert [test.names[i] for i in test.targets] == [f"class {i}" for i in range(20)] + ["20", "21"]
    again = open_data(path, validation_classes=0.2)
    other = open_data(path, validation_classes=0.2, split_seed=1)
    assert torch.equal(data.validation, again.validation)
    assert not torch.equal(data.validation, other.validation)


def test_what_cannot_be_kept_is_refused(tmp_path):
    path = npz(tmp_path / "a.npz", np.arange(12) % 3)
    with pytest.raises(ValueError, match="keeps 2 of 3 classes, and at least two must be left"):
        open_data(path, validation_classes=0.1)
    with pytest.raises(ValueError, match="leave one of the two out"):
        open_data(path, validation_classes=0.1, validation=path)
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    with pytest.raises(ValueError, match="the data have no labels"):
        open_data(str(tmp_path / "a.txt"), validation_classes=0.1)
