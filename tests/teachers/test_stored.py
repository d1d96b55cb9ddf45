"""Tests for asterism/teachers/stored.py: a teacher that is only its outputs."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from sklearn.datasets import load_digits

from asterism import KD, RKD, VRM, recipe
from asterism.data import TextSource, open_data, open_source
from asterism.teachers import open_teacher
from asterism.teachers.stored import StoredTeacher, open_stored
from asterism.verdict import outputs_on, teaching

QUICK = {"epochs": 4, "batch_size": 64, "lr": 0.05, "padding": 0, "overwrite": True}
STUDENT = "convnet?width=8"


@pytest.fixture(scope="module")
def teacher(taught):
    return taught


def test_it_teaches_what_the_network_itself_teaches(teacher, tmp_path):
    """Without shifts both see the clean images, so that only the rounding of batches differs."""
    data = open_data("digits")
    live = teaching(open_teacher(teacher, data))
    outputs = outputs_on(live, data.source, torch.arange(1297)).outputs
    arrays = {"embedding": outputs.embedding.numpy(), "logits": outputs.logits.numpy()}
    np.savez(tmp_path / "all.npz", **arrays)
    np.save(tmp_path / "embeddings.npy", arrays["embedding"])
    save_file(arrays, tmp_path / "all.safetensors")
    options = {**QUICK, "method": [RKD(), KD()]}
    live = recipe.distill(teacher, STUDENT, "digits", out=tmp_path / "live", **options)
    path = str(tmp_path / "all.npz")
    stored = recipe.distill(path, STUDENT, "digits", out=tmp_path / "stored", **options)
    for key, value in live.student.state_dict().items():
        kept = stored.student.state_dict()[key]
        torch.testing.assert_close(kept, value, rtol=1e-3, atol=1e-4)
    # Matched by row, it has nothing for the 500 test digits.
    assert "fidelity" not in stored.evaluation
    assert stored.accuracy == pytest.approx(live.accuracy, abs=0.01)
    other = open_stored(tmp_path / "all.safetensors", {})
    assert other.fingerprint() == open_stored(tmp_path / "all.npz", {}).fingerprint()
    path = str(tmp_path / "embeddings.npy")
    alone = recipe.distill(
        path, STUDENT, "digits", labels=False, out=tmp_path / "e", validation_share=0.2, **QUICK
    )
    assert alone.recall_at_1 > 0.8
    with pytest.raises(ValueError, match="VRM needs augmented views.*only its outputs has one"):
        recipe.distill(str(tmp_path / "all.npz"), STUDENT, "digits", method=VRM(), **QUICK)
    with pytest.raises(ValueError, match="KD compares class scores, and the teacher has none"):
        recipe.distill(path, STUDENT, "digits", method=KD(), **QUICK)


def test_rows_are_matched_by_id(tmp_path):
    digits = load_digits()
    for i in range(60):
        path = tmp_path / "pictures" / str(digits.target[i]) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15).astype(np.uint8)).save(path)
    names = [f"{digits.target[i]}/{i}.png" for i in range(59, -1, -1)]
    rows = np.array([digits.data[i] for i in range(59, -1, -1)], np.float16)
    np.savez(tmp_path / "a.npz", embedding=rows, id=np.array(names))
    folder = open_source(tmp_path / "pictures", image_size=8)
    stored = open_stored(tmp_path / "a.npz", {}).on(folder)
    for i in (0, 17, 59):
        expected = digits.data[int(folder.files[i].stem)]
        outputs = stored.clean(torch.tensor([i]), folder.__getitems__([i]).views[0])
        np.testing.assert_allclose(outputs.embedding[0], expected, rtol=1e-3)
    np.savez(tmp_path / "b.npz", vectors=rows[1:], id=np.array(names[1:]))
    with pytest.raises(ValueError, match=rf"1 of 60 samples have no row in .*: {names[0]}\."):
        open_stored(tmp_path / "b.npz", {"embedding": "vectors"}).on(folder)
    result = recipe.distill(
        str(tmp_path / "a.npz"), STUDENT, str(tmp_path / "pictures"), labels=False,
        out=tmp_path / "run", image_size=8, workers=0, **QUICK,
    )  # fmt: skip
    assert result.evaluation["fidelity"]["distance_correlation"] is not None
    assert "cost" not in result.evaluation["teacher"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2))}, "holds no `embedding`; it holds x.*MODEL.weights="),
        ({"embedding": np.zeros(3)}, r"one row of floating-point.*float64 of shape \(3,\)"),
        ({"embedding": np.zeros((3, 2), int)}, "got int64"),
        ({"embedding": np.array([[0.0], [np.nan], [1.0]])}, "row 1 is not finite"),
        ({"embedding": np.array([[0.0], [1.0], [1e300]])}, "row 2 is not finite in float32"),
        ({"embedding": np.zeros((3, 2)), "logits": np.zeros((2, 2))}, r"shape \(2, 2\)"),
        ({"embedding": np.zeros((3, 2)), "id": np.array(["a", "b", "a"])}, "one id per row, each"),
        (
            {"embedding": np.zeros((2, 2)), "id": np.array(["a", None], object)},
            r"cannot read .*: id holds Python objects, .* array\.astype\(str\)",
        ),
    ],
)
def test_says_what_is_wrong(arrays, message, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        open_stored(tmp_path / "a.npz", {})


def test_rows_that_are_left_out_need_no_row_of_the_teacher(tmp_path):
    """Ids are read alike on both sides; a row without a text or an id of its own has none."""
    texts = TextSource(["a", "b", "", "d", "e"], ids=[1.0, " 2", "3", None, "1"])
    teacher = StoredTeacher(np.eye(2), ids=["2", "1"])
    outputs = teacher.on(texts).clean(texts.usable(), ["a", "b"])
    assert outputs.embedding.tolist() == [[0, 1], [1, 0]]


def test_without_ids_rows_must_be_the_training_datas():
    teacher = StoredTeacher(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="holds 5 rows and the data 1297 samples"):
        teacher.on(open_source("digits"))
    data = open_data("digits")
    teacher = StoredTeacher(np.zeros((1297, 2)))
    assert teacher.knows(data.source)
    assert not teacher.knows(data.test)
    assert teacher.network is None


def test_row_numbers_are_the_training_datas_alone(tmp_path):
    """Row 3 of the test data is another sample than row 3 of the training data."""
    data = open_data("digits")
    teacher = StoredTeacher(np.zeros((1297, 2)), ids=[str(i) for i in range(1297)])
    assert teacher.knows(data.source)
    assert not teacher.knows(data.test)
    with pytest.raises(ValueError, match="row numbers, too: give all of them ids"):
        teacher.on(data.test)


@pytest.mark.parametrize("kind", ["pictures", "texts"])
def test_an_id_names_one_sample_in_all_data(kind, tmp_path):
    """`train/a/1.png` and `val/a/1.png` have the same path below their folders."""

    def write(name, shades):
        if kind == "texts":
            rows = [f"text {shade},a/{i}.png" for i, shade in enumerate(shades)]
            (tmp_path / f"{name}.csv").write_text("\n".join(["text,id", *rows]))
            return open_source(tmp_path / f"{name}.csv")
        (tmp_path / name / "a").mkdir(parents=True)
        for i, shade in enumerate(shades):
            Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / name / "a" / f"{i}.png")
        return open_source(tmp_path / name, image_size=8)

    teacher = StoredTeacher(np.zeros((4, 2)), ids=[f"a/{i}.png" for i in range(4)])
    teacher.on(write("train", [10, 20, 30, 40]))
    assert teacher.knows(write("part", [10, 20]))
    with pytest.raises(ValueError, match=r"'a/1.png' names one sample in the training data and an"):
        teacher.on(write("val", [10, 50]))


def test_ids_as_bytes_and_a_hint_at_ids_of_another_form(tmp_path):
    rows, digits = np.eye(1297, 4), open_source("digits")
    np.savez(tmp_path / "a.npz", embedding=rows, id=np.arange(1297).astype("S"))
    index = torch.tensor([3, 900])
    stored = open_stored(tmp_path / "a.npz", {}).on(digits)
    assert stored.clean(index, torch.empty(2)).embedding[0].tolist() == [0, 0, 0, 1]
    np.savez(tmp_path / "b.npz", embedding=rows, id=np.arange(1297.0))  # as pandas writes them
    assert open_stored(tmp_path / "b.npz", {}).on(digits).position.tolist() == [*range(1297)]
    np.savez(tmp_path / "c.npz", embedding=rows, id=[f"d{i}" for i in range(1297)])
    with pytest.raises(ValueError, match=r"1297 of 1297 samples .* Its ids are like 'd0'"):
        open_stored(tmp_path / "c.npz", {}).on(digits)


def test_bfloat16_is_read(tmp_path):
    table = torch.randn(5, 3).bfloat16()
    save_torch({"embedding": table}, tmp_path / "a.safetensors")
    stored = open_stored(tmp_path / "a.safetensors", {})
    assert np.array_equal(stored.table, table.float().numpy())


def test_what_it_holds_already_is_not_cached(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(1297, 4)))
    with pytest.raises(
        ValueError, match=r"a\.npy has a teacher's outputs already: leave --teacher"
    ):
        recipe.distill(
            str(tmp_path / "a.npy"), STUDENT, "digits", teacher_cache=tmp_path / "c", **QUICK
        )
