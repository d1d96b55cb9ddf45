"""Tests for asterism/verdict/sample.py: the arrays of evaluation.npz."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import procrustes as disparity
from scipy.spatial.distance import cdist, pdist

from asterism.data import ArraySource, FolderSource, open_data
from asterism.data.source import Source
from asterism.modality import TEXT
from asterism.types import Batch, Outputs
from asterism.verdict import sample as sampling
from asterism.verdict.outputs import Observed, encoder_of, observe
from asterism.verdict.sample import changed_most, sampled_rows


def seen(embedding, target=None, index=None):
    index = torch.arange(len(embedding)) if index is None else index
    return Observed(Outputs(embedding), target, index, Outputs(embedding[:0]), None)


def pictures(n, height, width, *, channels=3, labels=True):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, channels, height, width), generator=generator).byte()
    return ArraySource(images, torch.arange(n) % 3 if labels else None, names=["a", "b", "c"])


def test_arrays_follow_the_schema(embeddings):
    source = pictures(60, 8, 6)
    student, teacher = embeddings(60, 4), embeddings(60, 7, seed=1)
    arrays = sampled_rows(source, seen(student, source.targets), seen(teacher, source.targets))
    shapes = {name: (array.shape, array.dtype.kind) for name, array in arrays.items()}
    assert shapes == {
        "row": ((60,), "i"), "name": ((60,), "U"), "target": ((60,), "i"),
        "class_names": ((3,), "U"), "thumbnails": ((60, 8, 6, 3), "u"),
        "student_embedding": ((60, 4), "f"), "teacher_embedding": ((60, 7), "f"),
        "student_neighbours": ((60, 20), "i"), "teacher_neighbours": ((60, 20), "i"),
        "overlap": ((60, 20), "f"), "student_map": ((60, 2), "f"), "teacher_map": ((60, 2), "f"),
        "pair_distance_student": ((1770,), "f"), "pair_distance_teacher": ((1770,), "f"),
    }  # fmt: skip
    assert arrays["student_embedding"].dtype == np.float16
    near = {}
    for who, rows in (("student", student), ("teacher", teacher)):
        apart = cdist(rows, rows) + np.diag([np.inf] * 60)
        near[who] = np.argsort(apart, 1)[:, :20]
        assert (arrays[f"{who}_neighbours"] == near[who]).all()
        expected = pdist(rows) / pdist(rows).mean()
        np.testing.assert_allclose(arrays[f"pair_distance_{who}"], expected, rtol=1e-5)
    for i in range(60):
        for k in (1, 5, 20):
            shared = len({*near["student"][i, :k]} & {*near["teacher"][i, :k]})
            assert arrays["overlap"][i, k - 1] == pytest.approx(shared / k, abs=1e-3)
    assert (arrays["thumbnails"] == source.samples.permute(0, 2, 3, 1).numpy()).all()
    worst = changed_most(arrays, number=3)
    assert [w["overlap"] for w in worst] == sorted(arrays["overlap"][:, 9].round(4).tolist())[:3]


def test_maps_are_turned_onto_each_other(embeddings):
    rows = embeddings(50, 5) * torch.tensor([5.0, 3.0, 1.0, 0.2, 0.1])
    turned = 7 * rows @ torch.linalg.qr(embeddings(5, 5, 2)).Q + 3
    arrays = sampled_rows(pictures(50, 4, 4), seen(turned), seen(rows))
    np.testing.assert_allclose(arrays["student_map"], arrays["teacher_map"], atol=1e-4)
    other = sampled_rows(pictures(50, 4, 4), seen(embeddings(50, 5, 3)), seen(rows))
    assert disparity(other["teacher_map"], other["student_map"])[2] < 1
    assert other["student_map"].shape == (50, 2)
    assert sampled_rows(pictures(50, 4, 4), seen(rows[:, :1]), None)["student_map"].shape == (50, 2)


def test_without_a_teacher_its_arrays_are_absent(embeddings):
    arrays = sampled_rows(pictures(30, 4, 4), seen(embeddings(30, 3)), None)
    assert not [name for name in arrays if "teacher" in name or name == "overlap"]
    assert "target" not in arrays
    assert changed_most(arrays) == []


def test_a_single_row_has_no_neighbours(embeddings):
    ours, theirs = seen(embeddings(1, 5)), seen(embeddings(1, 7))
    arrays = sampled_rows(pictures(1, 8, 6, labels=False), ours, theirs)
    assert arrays["overlap"].shape == (1, 0)
    assert len(arrays["student_map"]) == 1
    assert changed_most(arrays) == []


def test_large_data_are_sampled_by_seed(embeddings, monkeypatch):
    monkeypatch.setattr(sampling, "ROWS", 20)
    index = torch.arange(90, 150)  # the rows that could be read
    student = seen(embeddings(60, 3), index=index)
    arrays = sampled_rows(pictures(200, 4, 4), student, student)
    assert len(arrays["row"]) == len(set(arrays["row"])) == 20
    assert (arrays["row"] >= 90).all()
    assert (np.diff(arrays["row"]) > 0).all()
    again = sampled_rows(pictures(200, 4, 4), student, student)
    assert (again["row"] == arrays["row"]).all()
    kept = student.outputs.embedding[torch.from_numpy(arrays["row"]) - 90]
    size = kept.square().mean().sqrt()
    np.testing.assert_allclose(arrays["student_embedding"], (kept / size).half())
    assert arrays["student_neighbours"].max() < 20


@pytest.mark.parametrize(("channels", "expected"), [(1, (64, 32)), (3, (64, 32)), (4, (64, 32))])
def test_thumbnails_are_small_colour_pictures(channels, expected, embeddings):
    source = pictures(12, 200, 100, channels=channels)
    thumbnails = sampled_rows(source, seen(embeddings(12, 3)), None)["thumbnails"]
    assert thumbnails.shape == (12, *expected, 3)
    assert abs(float(thumbnails.mean()) - 127) < 3
    if channels == 1:
        assert (thumbnails[..., 0] == thumbnails[..., 2]).all()


def test_embeddings_that_half_precision_cannot_hold(embeddings):
    rows = 1e6 * embeddings(30, 3)
    arrays = sampled_rows(pictures(30, 4, 4), seen(rows), seen(1e-9 * rows))
    assert np.isfinite(arrays["student_embedding"]).all()
    np.testing.assert_allclose(arrays["student_embedding"], arrays["teacher_embedding"], atol=2e-3)


def test_files_are_named_and_unreadable_ones_left_out(tmp_path):
    for i in range(6):
        Image.new("RGB", (9, 9), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"broken")
    source = FolderSource(tmp_path, image_size=8)
    index = torch.tensor([0, 1, 2, 4, 5])
    arrays = sampled_rows(source, seen(torch.arange(5.0)[:, None], index=index), None)
    assert arrays["name"].tolist() == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert arrays["thumbnails"][:, 0, 0, 0].tolist() == [0, 40, 80, 160, 200]


class Texts(Source):
    """Views that are lists of strings."""

    modality = TEXT

    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def __getitems__(self, rows):
        return Batch(([self.texts[i] for i in rows],), torch.as_tensor(rows))


def test_texts_come_as_texts(embeddings):
    texts = ["<b>one</b>", "", "three " * 5000] + [f"text {i}" for i in range(27)]
    arrays = sampled_rows(Texts(texts), seen(embeddings(30, 3)), seen(embeddings(30, 4)))
    expected = [*texts[:2], texts[2][:999] + "…", *texts[3:]]
    assert arrays["texts"].tolist() == expected
    assert "thumbnails" not in arrays


def test_seeing_keeps_rows_labels_and_modes(tmp_path):
    data = open_data("digits")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, images):
            return Outputs(self.drop(images.flatten(1)))

    model = Model()
    found = observe(encoder_of(model), data)
    assert torch.equal(found.index, torch.arange(500))
    assert torch.equal(found.target, data.test.targets)
    torch.testing.assert_close(found.outputs.embedding, data.test.samples.flatten(1) / 255)
    assert len(found.learnt.embedding) == len(data.train)
    assert model.drop.training
