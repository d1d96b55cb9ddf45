"""Tests for asterism/student.py."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from students import finished_run
from torch import nn

import asterism
from asterism import Outputs
from asterism.data import open_source
from asterism.modality import ARRAY, IMAGE, TEXT
from asterism.models import Spec, build, weights_of
from asterism.run import Run, RunError
from asterism.student import Student

CARD = {"model": "convnet?width=8", "classes": 3, "image_shape": [3, 9, 9], "embedding_dim": 32}


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    with run.writing():
        run.write_config({"epochs": 3}, {"torch": "2"})
        run.write_student(weights_of(build(CARD["model"], Spec(3, (3, 9, 9)))), CARD)
        run.write_result({"steps": 1})
    return run


def test_load_gives_the_student_back(run, tmp_path):
    student = asterism.load(run.path)
    assert not student.training
    images = torch.rand(2, 3, 9, 9)
    assert student(images).logits.shape == (2, 3)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    assert student.embed([tmp_path / "a.png"]).embedding.shape == (1, 32)


def test_load_says_what_is_missing(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no run folder: it has no student\.json"):
        asterism.load(tmp_path)
    (run.path / "student.json").unlink()
    with pytest.raises(FileNotFoundError, match="is an unfinished run"):
        asterism.load(run.path)


@pytest.mark.parametrize(
    "text", ["{", "[]", "[" * 100_000, '{"model": "mlp"}', '{"image_shape": [1, 2]}', "\xff"]
)
def test_a_damaged_card_is_named(run, text):
    (run.path / "student.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match=r"student\.json is damaged"):
        asterism.load(run.path)


@pytest.mark.parametrize("exported", [False, True])
def test_nothing_named_in_a_run_folder_is_imported(exported, run, tmp_path):
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\ndef make(): pass")
    card = run.path / "student.json"
    if exported:
        card = card.rename(run.path / "config.json")
    card.write_text(json.dumps(CARD | {"model": f"{trap}:make"}))
    with pytest.raises(RunError, match="nothing named in a run folder is imported: pass factory"):
        asterism.load(run.path)
    assert not (tmp_path / "sprung").exists()


def test_a_students_own_factory(tmp_path):
    run = Run(tmp_path)

    def factory(classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(27, classes))

    with run.writing():
        run.write_student(
            weights_of(build(factory, Spec(3, (3, 3, 3)))),
            CARD | {"model": "a.py:f", "image_shape": [3, 3, 3]},
        )
    student = asterism.load(run.path, factory=factory)
    assert student(torch.rand(1, 3, 3, 3)).embedding.shape == (1, 27)


def test_weights_that_do_not_fit_are_named(run):
    (run.path / "student.json").write_text(json.dumps(CARD | {"model": "convnet"}))
    with pytest.raises(ValueError, match=r"student\.safetensors does not fit convnet"):
        asterism.load(run.path)


IMAGES = torch.rand(2, 3, 9, 9)
UNFIT_IMAGES = {
    "uint8": (
        (IMAGES * 255).byte(),
        r"got torch\.uint8: write samples\.float\(\) / 255",
    ),
    "255": (IMAGES * 255, r"in \[0, 1\], and normalises them itself; got values from .* to 25"),
    "normalised": (IMAGES - 0.5, r"in \[0, 1\].* got values from -0"),
    "nan": (IMAGES / 0 * 0, "got NaN or infinite values"),
    "one": (IMAGES[0], r"one sample is samples\[None\]"),
    "last": (IMAGES.permute(0, 2, 3, 1), r"channels come first, samples\.permute\(0, 3, 1, 2\)"),
    "size": (torch.rand(2, 3, 18, 18), r"got shape \(2, 3, 18, 18\): resize them"),
    "grey": (IMAGES[:, :1], r"shape \(n, 3, 9, 9\).* got shape \(2, 1, 9, 9\)\."),
    "numpy": (IMAGES.numpy(), r"got ndarray: for files.* student\.embed"),
    "path": ("a.png", r"got str: for files.* student\.embed"),
}


@pytest.mark.parametrize("case", UNFIT_IMAGES)
def test_a_student_of_images_refuses_what_it_would_misread(run, case):
    samples, message = UNFIT_IMAGES[case]
    student = asterism.load(run.path)
    with pytest.raises(ValueError, match=message):
        student(samples)
    assert student.unchecked()(torch.rand(2, 3, 18, 18) * 9).embedding.shape == (2, 32)
    assert student(IMAGES[:0]).embedding.shape == (0, 32)
    assert torch.compile(student, backend="eager", fullgraph=True)(IMAGES).logits.shape == (2, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([None], "sample 0 is None, of type NoneType"),
        (["a", float("nan")], "sample 1 is nan, of type float"),
        (["a\ud83d"], "sample 0 holds half of a surrogate pair"),
        ({"a": 1}, "takes a list of samples; got dict"),
        (b"ab", "takes a list of samples; got bytes"),
        ([b"ab"], "sample 0 is b'ab', of type bytes"),
    ],
)
def test_texts_are_texts(given, message):
    student = Student(Lengths(), TEXT, None)
    with pytest.raises(ValueError, match=message):
        student.embed(given)
    with pytest.raises(ValueError, match=r"a text alone is \[text\]"):
        student("two letters")
    for one in ("two letters", ["two letters"], ("two letters",), iter(["two letters"])):
        assert student.embed(one).embedding.tolist() == [[11.0]]
    assert student.embed([]).embedding.shape == (0, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.rand(4), r"got shape \(4,\): one sample is samples\[None\]"),
        ([[1.0, 2.0]], r"sample 0 has \(2,\)"),
        ([["a"] * 4], "takes arrays of numbers; got list"),
        ([torch.rand(4), [1, 2, 3, float("nan")]], "got NaN or infinite values"),
    ],
)
def test_arrays_are_arrays(given, message):
    student = Student(nn.Linear(4, 2), ARRAY, (4,))
    with pytest.raises(ValueError, match=message):
        student.embed(given)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_samples_are_brought_to_the_type_of_the_network(dtype, tmp_path):
    """A student of half precision takes what any other takes: floats, files, arrays."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).to(dtype)
    student = Student(Embedding(network), IMAGE, (3, 2, 2))
    for given in (torch.float32, torch.float64, torch.bfloat16, dtype):
        assert student(torch.rand(2, 3, 2, 2).to(given)).embedding.dtype == dtype
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert student.embed([tmp_path / "a.png"]).embedding.dtype == dtype
    assert torch.export.export(student, (torch.rand(2, 3, 2, 2),)).module()(IMAGES[:, :, :2, :2])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("modality", "name"), [(IMAGE, "a.png"), (ARRAY, "a.npy")])
def test_a_pipe_is_no_sample(modality, name, tmp_path):
    os.mkfifo(tmp_path / name)
    student = Student(nn.Identity(), modality, (3, 2, 2))
    with pytest.raises(ValueError, match=rf"{name}.*: it is a pipe or a device, and a file is"):
        student.embed(tmp_path / name)


def test_pictures_are_files_pixels_or_what_pillow_opened(run, tmp_path):
    student = asterism.load(run.path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    wanted = student.embed(str(tmp_path / "cat.png")).embedding
    assert wanted.shape == (1, 32)
    several = np.stack([pixels, pixels])
    for given in (Image.fromarray(pixels), pixels, [pixels], several, list(several)):
        torch.testing.assert_close(student.embed(given).embedding[:1], wanted)
    small = np.asarray(Image.fromarray(pixels).resize((9, 9)))
    images = torch.from_numpy(small.copy()).permute(2, 0, 1)[None]
    for given in (small, images, images / 255, (images / 255).numpy(), (images / 255).double()):
        torch.testing.assert_close(student.embed(given).embedding, student(images / 255).embedding)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["cta.png"], r"nothing at .*cta\.png \(did you mean .*cat\.png\?\)"),
        ([""], "is a folder: name the pictures in it"),
        (["text.png"], "text.png cannot be read: cannot identify"),
        (["cat.png", 3], "a picture is a path.*; got int"),
        (np.zeros((5, 20, 30), np.uint8), r"got shape \(5, 20, 30\): give several without"),
        (np.zeros((5, 3, 8, 8), np.uint8), r"array.transpose\(0, 2, 3, 1\)"),
        (np.zeros((8, 8)), r"own size, .* got shape \(8, 8\): .* \(255 \* array\)"),
        ([np.zeros((3, 20, 30), np.uint8)], r"uint8, .* got uint8 of shape \(3, 20, 30\)"),
        ([np.zeros((20, 30, 3))], r"own size, .* got shape \(20, 30, 3\)"),
        ([np.zeros((20, 30, 3)), "cat.png"], "uint8, .* got float64"),
        (torch.rand(2, 3, 18, 18), r"got shape \(2, 3, 18, 18\): resize them"),
        (torch.rand(2, 3, 9, 9) * 255, r"in \[0, 1\], and normalises them itself"),
    ],
)
def test_what_is_no_picture_is_named(run, tmp_path, given, message):
    Image.new("RGB", (30, 20)).save(tmp_path / "cat.png")
    (tmp_path / "text.png").write_text("no picture")
    if isinstance(given, list):
        given = [tmp_path / each if isinstance(each, str) else each for each in given]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        asterism.load(run.path).embed(given)


def test_data_are_embedded_in_their_order(run, tmp_path, monkeypatch):
    student = asterism.load(run.path)
    files = [tmp_path / "pictures" / name / f"{i}.png" for name in "ab" for i in range(3)]
    for i, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (40 * i, 0, 0)).save(file)
    wanted = student.embed(files).embedding
    assert len(wanted.unique(dim=0)) == 6
    torch.testing.assert_close(student.embed(str(tmp_path / "pictures")).embedding, wanted)
    source = open_source(tmp_path / "pictures", image_size=9)
    torch.testing.assert_close(student.embed(source).embedding, wanted)
    monkeypatch.setattr("asterism.student.AT_ONCE", 2)  # in several processes
    torch.testing.assert_close(student.embed(files).embedding, wanted)
    files[4].write_text("no picture")
    with pytest.raises(ValueError, match=r"cannot be read: .*1\.png cannot be read: ") as raised:
        student.embed(files)
    assert "Traceback" not in str(raised.value)
    with pytest.raises(ValueError, match=r"this one cannot be read: .*1\.png"):
        student.embed(tmp_path / "pictures")


def test_data_of_other_sizes_and_channels_are_brought_as_files_are(tmp_path):
    """A folder's pictures are in colour; the student of digits is grey."""
    file = tmp_path / "pictures" / "a" / "0.png"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (30, 20), (200, 200, 200)).save(file)
    spec = Spec(3, (1, 9, 9), modality=IMAGE)
    student = asterism.load(finished_run(tmp_path / "run", "convnet?width=4", spec, ""))
    wanted = student.embed(file).embedding
    torch.testing.assert_close(student.embed(tmp_path / "pictures").embedding, wanted)
    source = open_source(tmp_path / "pictures", image_size=12)
    torch.testing.assert_close(student.embed(source).embedding, wanted)
    with pytest.raises(ValueError, match="takes images of shape .*, and .* has texts"):
        (tmp_path / "a.csv").write_text("text\na\n")
        student.embed(tmp_path / "a.csv")


def test_a_table_is_a_path_and_a_text_is_a_text(tmp_path):
    (tmp_path / "texts.csv").write_text("text\na\nbcd\n")
    student = Student(Lengths(), TEXT, None)
    assert student.embed(tmp_path / "texts.csv").embedding.tolist() == [[1.0], [3.0]]
    assert student.embed("texts.csv").embedding.tolist() == [[9.0]]


def test_predictions_have_names(run, tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "cat.png")
    card = json.loads((run.path / "student.json").read_text())
    for names in (None, ["ant", "bee", "cat"]):
        (run.path / "student.json").write_text(json.dumps(card | {"class_names": names}))
        student = asterism.load(run.path)
        made = student.predict([tmp_path / "cat.png"] * 2)
        wanted = student.embed(tmp_path / "cat.png").logits.softmax(1)[0]
        assert made.classes == tuple(names or "012")
        assert made[0].name == made.classes[wanted.argmax()]
        assert made[1].probability == pytest.approx(float(wanted.max()))
        assert [each.probability for each in made.top(3)[0]] == pytest.approx(
            sorted(wanted.tolist(), reverse=True)
        )
    assert repr(student) == (
        "Student(convnet?width=8: takes images of shape (3, 9, 9), 3 classes, 6,187 parameters)"
    )
    with pytest.raises(ValueError, match=r"trained without classes: use student\.embed"):
        Student(Lengths(), TEXT, None).predict("a text")


class Embedding(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, samples):
        return Outputs(self.network(samples))


class Lengths(nn.Module):
    def forward(self, texts):
        return Outputs(torch.tensor([[float(len(x))] for x in texts]).reshape(-1, 1))
