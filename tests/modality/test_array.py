"""Arrays end to end: float features of any shape, from a file to a student and its page."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import asterism
from asterism import RKD, VRM, recipe
from asterism.cli import main
from asterism.data import ArraySource, open_data, open_source
from asterism.modality import ARRAY, MODALITIES

QUICK = {"epochs": 3, "batch_size": 32, "lr": 0.05, "overwrite": True}
SHAPES = {"table": (12,), "series": (10, 3), "spectrogram": (2, 6, 5)}


def drawn(shape, rows=240, seed=0):
    """Return arrays of three classes, and their classes; scales and offsets as nature has them."""
    draw = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    centres = np.random.default_rng(9).normal(size=(3, *shape))
    x = 40 + 7 * (centres[y] + 0.5 * draw.normal(size=(rows, *shape)))
    return x.astype(np.float32), y


@pytest.fixture(scope="module", params=SHAPES)
def place(request, tmp_path_factory):
    """A folder with training and test data of a shape, and a teacher that knows them."""
    folder = tmp_path_factory.mktemp(request.param)
    for name, seed in (("train", 0), ("test", 1)):
        x, y = drawn(SHAPES[request.param], seed=seed)
        np.savez(folder / f"{name}.npz", x=x, y=y)
    data = {"data": str(folder / "train.npz"), "test_data": str(folder / "test.npz")}
    recipe.train("mlp", out=folder / "teacher", **data, **QUICK)
    return folder, data, SHAPES[request.param]


def test_a_student_learns_and_has_its_page(place, tmp_path):
    folder, data, shape = place
    teacher = str(folder / "teacher")
    result = recipe.distill(
        teacher, "mlp?dim=8", method=RKD(), out=tmp_path / "run", **data, **QUICK
    )
    assert result.accuracy > 0.9
    assert result.evaluation["fidelity"]["distance_correlation"] > 0.5
    arrays = np.load(tmp_path / "run" / "evaluation.npz")
    assert arrays["thumbnails"].shape[::3] == (240, 3)
    assert arrays["thumbnails"].std() > 10  # something is drawn
    assert "data:image/png" in (tmp_path / "run" / "report.html").read_text()
    student = asterism.load(tmp_path / "run")
    assert (student.modality, student.shape) == (ARRAY, shape)
    x, _ = drawn(shape, seed=1)
    np.save(tmp_path / "one.npy", x[0])
    outputs = student.embed([tmp_path / "one.npy", x[1], torch.tensor(x[2])])
    torch.testing.assert_close(outputs, student(torch.tensor(x[:3])))
    again = recipe.evaluate(tmp_path / "run")
    assert again.accuracy == result.accuracy


def test_the_doctor_and_a_cache_know_them(place, tmp_path):
    folder, data, _ = place
    teacher = str(folder / "teacher")
    findings = recipe.examine(teacher, "mlp", batch_size=32, epochs=1, **data)
    assert not [f for f in findings if f.severity == "wrong"]
    assert {"teacher's knowledge", "student's embedding", "time"} <= {f.subject for f in findings}
    assert not {"pictures", "teacher's input"} & {f.subject for f in findings}
    options = {"method": RKD(), "report": False, **data, **QUICK}
    recipe.cache(teacher, out=tmp_path / "cache", dtype="float32", **data)
    live = recipe.distill(teacher, "mlp?dim=8", out=tmp_path / "live", **options)
    cached = recipe.distill(str(tmp_path / "cache"), "mlp?dim=8", out=tmp_path / "c", **options)
    for name, value in live.student.state_dict().items():
        torch.testing.assert_close(cached.student.state_dict()[name], value, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="VRM needs augmented views of each sample, and an array"):
        recipe.distill(teacher, "mlp", out=tmp_path / "x", method=VRM(), **data, **QUICK)


def test_a_factory_of_ones_own_gets_their_shape(place, tmp_path, capsys):
    folder, data, _ = place
    (tmp_path / "net.py").write_text(
        "import math\nfrom torch import nn\n\n"
        "def make(shape, classes, mean, std):\n"
        "    assert len(mean) == len(std) == (shape[0] if len(shape) == 1 else 1)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))\n"
    )
    command = ["distill", "--teacher", str(folder / "teacher"), "--data", data["data"]]
    command += ["--student", f"{tmp_path / 'net.py'}:make", "--out", str(tmp_path / "run")]
    assert main([*command, "--limit-steps", "2", "--no-report"]) == 0
    capsys.readouterr()
    assert main([*command[:4], data["data"], "--student", "resnet20"]) == 2
    assert "resnet20 takes images, and the data are arrays: choose from mlp" in (
        capsys.readouterr().err
    )


def test_statistics_are_of_each_feature_of_a_table_and_of_all_of_larger_shapes():
    x, y = drawn((12,))
    mean, std = open_data(ArraySource(torch.tensor(x), y)).statistics()
    np.testing.assert_allclose(mean, x.mean(0), rtol=0.05)
    assert len(std) == 12
    x, y = drawn((10, 3))
    mean, std = open_data(ArraySource(torch.tensor(x), y)).statistics()
    np.testing.assert_allclose([*mean, *std], [x.mean(), x.std()], rtol=0.05)


def test_where_they_may_be_from(tmp_path):
    x, y = drawn((4, 3), rows=20)
    np.save(tmp_path / "a.npy", x)
    lines = [
        json.dumps({"array": row.tolist(), "label": f"c{c}"}) for row, c in zip(x, y, strict=True)
    ]
    lines[3] = json.dumps({"array": None, "label": "c0"})
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    dataset = TensorDataset(torch.tensor(x), torch.tensor(y))
    sources = [open_source(str(tmp_path / name)) for name in ("a.npy", "a.jsonl")]
    for source in (*sources, open_source(dataset)):
        assert (source.modality, source.shape, len(source)) == (ARRAY, (4, 3), 20)
        batch = source.__getitems__([5, 2])
        torch.testing.assert_close(batch.views[0], torch.tensor(x[[5, 2]]))
    left_out = sources[1].__getitems__([2, 3])
    assert left_out.index.tolist() == [2]
    assert left_out.broken == (f"{tmp_path / 'a.jsonl'}, row 4 (no array)",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [3.0]], "must hold lists of numbers, all of one size"),
        ([["a", "b"], ["c", "d"]], "must hold lists of numbers, all of one size"),
        ([[1.0, 2.0], [3.0, 1e300]], "sample 1 is not finite in float32"),
    ],
)
def test_columns_that_are_no_arrays_are_refused(rows, message, tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"features": row}) for row in rows))
    with pytest.raises(ValueError, match=message):
        open_source(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=lambda m: m.name)
def test_every_modality_shows_two_examples(modality):
    """What a model is tried with can be drawn, read and told apart by its contents."""
    shape = {"image": (3, 8, 8), "text": None, "array": (5, 4)}[modality.name]
    example = modality.example(shape)
    assert len(example) == len(list(modality.contents(example))) == 2
    (pictures,) = modality.pictures([example]).values()
    assert len(pictures) == 2
    assert modality.plural in modality.described(shape)
