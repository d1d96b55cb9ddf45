"""Data sets of Hugging Face's library: saved, in memory, streamed."""

import io

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from asterism import KD, recipe
from asterism.data import open_data, open_source


@pytest.fixture(scope="module", autouse=True)
def quiet():
    datasets.disable_progress_bars()


@pytest.fixture
def texts(tmp_path):
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["calm", "loud", "mute"])
    )
    rows = {"text": ["a", "B", "", "d"], "label": [0, 1, 0, 0]}
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture
def pictures():
    """Of several sizes and modes; row 2 is no picture."""
    files = []
    for i in range(40):
        file = io.BytesIO()
        mode = ("RGB", "L", "RGBA", "P")[i % 4]
        Image.new("RGB", (20 + i, 24), (6 * i, 0, 0)).convert(mode).save(file, "PNG")
        files.append({"bytes": b"nonsense" if i == 2 else file.getvalue(), "path": None})
    features = datasets.Features(img=datasets.Image(), fine=datasets.ClassLabel(num_classes=3))
    data = {"img": files, "fine": [i % 3 for i in range(40)]}
    return datasets.Dataset.from_dict(data, features=features)


def test_texts(texts, tmp_path):
    texts.save_to_disk(str(tmp_path / "saved"))
    for given in (texts, str(tmp_path / "saved")):
        source = open_source(given)
        assert source.names == ("calm", "loud", "mute")
        batch = source.__getitems__(range(4))
        assert batch.views[0] == ["a", "B", "d"]
        assert batch.target.tolist() == [0, 1, 0]
        assert len(batch.broken) == 1


def test_parts_and_columns(texts, tmp_path):
    both = datasets.DatasetDict({"test": texts.select([0]), "train": texts.select([1, 3])})
    both.save_to_disk(str(tmp_path / "saved"))
    assert len(open_source(str(tmp_path / "saved"))) == 2  # train, where no part is named
    assert len(open_source(f"{tmp_path / 'saved'}?split=test")) == 1
    with pytest.raises(ValueError, match="has the parts test, train: name one"):
        open_source(f"{tmp_path / 'saved'}?split=nix")
    with pytest.raises(ValueError, match="has the columns text, label; there is no text column"):
        open_source(f"{tmp_path / 'saved'}?text=nix")


def test_pictures_are_decoded_when_they_are_fetched(pictures, tmp_path):
    pictures.save_to_disk(str(tmp_path / "saved"))
    unlabelled = open_source(pictures, image_size=12)
    assert unlabelled.targets is None
    source = open_source(f"{tmp_path / 'saved'}?label=fine", image_size=12)
    batch = source.__getitems__([5, 2, 8])
    assert batch.views[0].shape == (2, 3, 12, 12)
    assert batch.views[0][:, 0, 0, 0].tolist() == [9, 48]  # row 5 is grey: 0.299 of 30
    assert batch.target.tolist() == [2, 2]
    assert batch.broken[0].split(", ")[1].startswith("row 3 (")
    assert source.fingerprint() != open_source(pictures.select(range(9))).fingerprint()


def test_a_run_on_a_saved_data_set(pictures, tmp_path):
    pictures.save_to_disk(str(tmp_path / "saved"))
    name, options = f"{tmp_path / 'saved'}?label=fine", {"epochs": 1, "batch_size": 8, "workers": 1}
    teacher = recipe.train("convnet", name, out=tmp_path / "t", image_size=16, **options)
    result = recipe.distill(
        str(teacher.run), "convnet?width=4", name, method=KD(), out=tmp_path / "s", **options
    )
    assert len(result.evaluation["broken"]) == 1
    assert result.student.shape == (3, 16, 16)  # as the teacher


def test_streams_are_refused_with_the_reason(texts):
    with pytest.raises(ValueError, match="is streamed: samples are split, shuffled and matched"):
        open_source(texts.to_iterable_dataset())
    with pytest.raises(ValueError, match="org/name is streamed"):
        open_source("hf/org/name?streaming=true")


def test_without_a_network_it_says_so():
    with pytest.raises(ValueError, match="data set org/name could not be fetched: ") as caught:
        open_source("hf/org/name")
    assert "\n" not in str(caught.value)


def test_the_split_is_that_of_other_sources(texts):
    many = datasets.Dataset.from_dict({"text": [f"text {i}" for i in range(50)]})
    one, two = open_data(many), open_data([f"text {i}" for i in range(50)])
    assert torch.equal(one.train, two.train)
    assert one.source.fingerprint() == two.source.fingerprint()
    assert np.unique(one.validation).size == 5
