"""A student without torch sees what the training saw, and believes nothing in its folder."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
import asterism.runtime
from asterism.modality import IMAGE
from asterism.modality.image import decode
from asterism.types import to_float

onnx = pytest.importorskip("onnx", reason="pip install 'asterism[export]'")
pytest.importorskip("onnxruntime", reason="pip install 'asterism[runtime]'")
ROOT = Path(__file__).parents[1]
FLOAT, INT = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def written(folder, nodes, inputs, told, *, weights=(), width=None):
    """Write a graph with output `embedding` as an export, with what it says of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node, **extra) for *node, extra in nodes],
        "graph",
        [info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [info("embedding", FLOAT, ["n", width])],
        weights,
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in told.items()})
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def of_pixels(folder, shape, told=None):
    """Write a model whose embedding of a picture is its pixels."""
    inputs = {"images": (FLOAT, ["n", *shape])}
    nodes = [("Flatten", ["images"], ["embedding"], {"axis": 1})]
    told = {"kind": "image", "shape": list(shape), **(told or {})}
    return written(folder, nodes, inputs, told, width=int(np.prod(shape)))


def of_tokens(folder, tokenizer, **told):
    """Write a model whose embedding of a text is the sum of its tokens' numbers, and how many."""
    inputs = {name: (INT, ["n", "length"]) for name in ("input_ids", "attention_mask")}
    nodes = [
        ("Mul", ["input_ids", "attention_mask"], ["kept"], {}),
        ("ReduceSum", ["kept", "axes"], ["sums"], {}),
        ("ReduceSum", ["attention_mask", "axes"], ["counts"], {}),
        ("Concat", ["sums", "counts"], ["both"], {"axis": 1}),
        ("Cast", ["both"], ["embedding"], {"to": FLOAT}),
    ]
    axes = onnx.numpy_helper.from_array(np.array([1], np.int64), "axes")
    written(folder, nodes, inputs, {"kind": "text", **told}, weights=[axes], width=2)
    (folder / "tokenizer.json").write_text(tokenizer)
    return folder


def drawn(mode, size=(40, 29)):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 4), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def pictures(folder):
    """Write a picture of every kind that is read in its own way."""
    deep = np.random.default_rng(0).integers(0, 65536, (29, 40), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned by 90 degrees
    made = {
        "rgba.png": (drawn("RGBA"), {}),
        "la.png": (drawn("LA"), {}),
        "palette.png": (drawn("RGBA").quantize(16), {}),
        "transparent.gif": (drawn("P"), {"transparency": 3}),
        "colour.png": (drawn("RGB"), {"transparency": (1, 2, 3)}),
        "turned.jpg": (drawn("RGB"), {"exif": exif}),
        "large.jpg": (drawn("RGB", (400, 290)), {}),
        "cmyk.jpg": (drawn("CMYK"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "deep.tif": (Image.fromarray(deep), {}),
        "floats.tif": (Image.fromarray((deep / 65535).astype("float32")), {}),
        "bits.png": (drawn("1"), {}),
        "grey.webp": (drawn("L"), {}),
    }
    for name, (picture, options) in made.items():
        picture.save(folder / name, **options)
    return [folder / name for name in made]


@pytest.mark.parametrize("shape", [(3, 12, 12), (1, 9, 9), (3, 20, 10)])
def test_pictures_have_the_pixels_of_the_training(shape, tmp_path):
    files = pictures(tmp_path)
    model = asterism.runtime.load(of_pixels(tmp_path / "exported", shape))
    made = model.embed(files).reshape(-1, *shape)
    for file, pixels in zip(files, made, strict=True):
        wanted = to_float(decode(file, shape)).numpy()
        assert np.array_equal(pixels, wanted), file.name
        assert np.array_equal(model.embed(file.read_bytes())[0], pixels.ravel())
        assert pixels.std() > 0
    png = next(file for file in files if file.name == "rgba.png")
    with Image.open(png) as opened:
        for given in (opened, [opened], np.asarray(opened), np.asarray(opened)[None]):
            assert np.array_equal(model.embed(given)[0], model.embed(png)[0])
    assert model.embed([]).shape == (0, model.width)


class Pixels(torch.nn.Module):
    def forward(self, images):
        return asterism.Outputs(images.flatten(1))


def floats(shape, n=3):
    """Return pixels that bytes hold, as floats `(n, channels, height, width)`."""
    return np.random.default_rng(0).integers(0, 256, (n, *shape)) / 255


@pytest.mark.parametrize("shape", [(3, 12, 10), (1, 9, 9), (3, 3, 3)])
def test_float_pixels_of_its_own_size_are_taken_as_with_torch(shape, tmp_path):
    model = asterism.runtime.load(of_pixels(tmp_path, shape))
    student = asterism.Student(Pixels(), IMAGE, shape)
    images = floats(shape)
    wanted = images.reshape(3, -1).astype("float32")
    given = [images, images.astype("float32"), list(images), tuple(images), images[0], images[:1]]
    if len(set(shape)) > 1:
        last = np.moveaxis(images, 1, -1)
        given += [last, list(last), last[0], [last[0], images[1]]]
    if shape[0] == 1:
        given += [images[0, 0], list(images[:, 0])]
    for each in given:
        made = model.embed(each)
        assert np.array_equal(made, wanted[: len(made)])
        assert np.array_equal(student.embed(each).embedding, made)
    assert len(model.embed(np.zeros((0, *shape)))) == 0


def test_a_model_of_bytes_is_given_the_bytes_of_floats(tmp_path):
    inputs = {"images": (onnx.TensorProto.UINT8, ["n", 1, 9, 9])}
    nodes = [
        ("Flatten", ["images"], ["flat"], {"axis": 1}),
        ("Cast", ["flat"], ["embedding"], {"to": FLOAT}),
    ]
    told = {"kind": "image", "shape": [1, 9, 9], "values": "bytes, 0 to 255"}
    model = asterism.runtime.load(written(tmp_path, nodes, inputs, told, width=81))
    wanted = (255 * floats((1, 9, 9)).reshape(3, -1)).round()
    assert np.array_equal(model.embed(floats((1, 9, 9)).astype("float32")), wanted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            floats((3, 8, 8)),
            r"own size, \(3, 12, 10\) or \(12, 10, 3\), .* got shape \(3, 3, 8, 8\)",
        ),
        ([floats((3, 12, 10))], "in a list each array is one picture"),
        (floats((3, 12, 10)) * 255, r"in \[0, 1\], and normalises them itself; got values from"),
        (floats((3, 12, 10)) - 0.5, r"in \[0, 1\]"),
        (floats((3, 12, 10)) * np.nan, "got values from nan"),
        ([floats((3, 12, 10))[0], np.zeros((5, 5, 3), np.uint8)], "an array of pixels is uint8"),
        (floats((3, 12, 10)).astype(int), "an array of pixels is|several"),
    ],
)
def test_float_pixels_that_no_model_takes_are_refused_alike(given, message, tmp_path):
    shape = (3, 12, 10)
    model = asterism.runtime.load(of_pixels(tmp_path, shape))
    said = []
    for door in (model, asterism.Student(Pixels(), IMAGE, shape)):
        with pytest.raises(ValueError, match=message) as refused:
            door.embed(given)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_texts_come_back_in_order_with_their_prompt(tmp_path, tokenizer):
    library = pytest.importorskip("tokenizers")
    texts = [f"the {'cat ' * (i % 7)}" for i in range(150)] + ["", "unheard-of"]
    made = library.Tokenizer.from_str(tokenizer)
    encoded = [made.encode(f"a {text}").ids for text in texts]
    wanted = [[sum(ids), len(ids)] for ids in encoded]
    folder = of_tokens(tmp_path, padded(tokenizer), prompt="a ")
    model = asterism.runtime.load(folder / "model.onnx")
    assert model.embed(texts).tolist() == wanted
    assert model.embed(texts[3]).tolist() == wanted[3:4]
    with pytest.raises(ValueError, match="sample 1 is None, of type NoneType"):
        model.embed(["a", None])
    with pytest.raises(ValueError, match="no class scores: use embed"):
        model.predict("a")


def test_arrays_and_what_is_none(tmp_path):
    nodes = [("Flatten", ["arrays"], ["embedding"], {"axis": 1})]
    told = {"kind": "array", "shape": [2, 3], "class_names": None}
    inputs = {"arrays": (FLOAT, ["n", 2, 3])}
    model = asterism.runtime.load(written(tmp_path, nodes, inputs, told, width=6))
    rows = np.random.default_rng(0).normal(size=(70, 2, 3))
    np.save(tmp_path / "row.npy", rows[0])
    assert np.array_equal(model.embed(rows), rows.reshape(70, 6).astype("float32"))
    assert np.array_equal(model.embed(tmp_path / "row.npy"), model.embed(rows[:1]))
    for given, message in (
        (rows[0], r"sample 0 has \(3,\): give a list of arrays"),
        ([[["a"] * 3] * 2], "takes arrays of numbers"),
        (rows * np.nan, "got NaN or infinite values"),
        ({"a": 1}, "takes a list of samples; got dict"),
    ):
        with pytest.raises(ValueError, match=message):
            model.embed(given)
    assert repr(model) == "Model(takes arrays of shape (2, 3); embedding of 6)"


def padded(tokenizer):
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer.from_str(tokenizer)
    made.enable_padding(pad_id=0, pad_token=made.id_to_token(0))
    return made.to_str()


def test_it_needs_neither_torch_nor_what_trains(tmp_path, tokenizer):
    """With nothing but what the Dockerfile of the example installs, and in time."""
    of_pixels(tmp_path / "pictures" / "onnx", (3, 8, 8))
    of_tokens(tmp_path / "texts", padded(tokenizer))
    drawn("RGB").save(tmp_path / "a.png")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w-]+", each)[0].lower() for each in project["dependencies"]}
    dockerfile = (ROOT / "examples" / "service" / "Dockerfile").read_text()
    [line] = re.findall(r"^RUN (.*\\\n.*onnxruntime.*)", dockerfile, re.M)
    installed = set(re.findall(r"[\w-]+", line))
    left_out = declared - installed
    assert {"torch", "accelerate", "safetensors"} <= left_out
    assert {"numpy", "pillow", "pyyaml", "lazy-loader"} <= declared & installed
    absent = [name.replace("-", "_").replace("scikit_learn", "sklearn") for name in left_out]
    code = f"""
import sys, time
sys.modules.update(dict.fromkeys({absent}))
begun = time.process_time()
import asterism.runtime
seconds = time.process_time() - begun
assert seconds < 0.3, seconds
pictures = asterism.runtime.load("pictures")
assert pictures.embed("a.png").shape == (1, 192)
assert asterism.runtime.load("texts").embed(["a cat", ""]).shape == (2, 2)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def trap(tmp_path):
    path = tmp_path / "it ran"
    yield Bomb(path)
    assert not path.exists()


def pickled(folder, trap):
    (folder / "model.onnx").write_bytes(pickle.dumps(trap))


def zipped(folder, trap):
    torch.save({"weight": trap}, folder / "model.onnx")


def outside(place):
    """Weights that are said to lie in another file."""

    def write(folder, trap):
        np.ones(192, "f").tofile(folder.parent / "secret.bin")
        os.symlink("../secret.bin", folder / "link.bin")
        weight = onnx.TensorProto(name="w", dims=[192], data_type=FLOAT, data_location=1)
        entry = weight.external_data.add()
        entry.key, entry.value = "location", place.format(folder=folder.parent)
        nodes = [
            ("Flatten", ["images"], ["flat"], {"axis": 1}),
            ("Add", ["flat", "w"], ["embedding"], {}),
        ]
        inputs = {"images": (FLOAT, ["n", 3, 8, 8])}
        told = {"kind": "image", "shape": [3, 8, 8]}
        written(folder, nodes, inputs, told, weights=[weight], width=192)

    return write


def told(**changed):
    return lambda folder, trap: of_pixels(folder, (3, 8, 8), told=changed)


def a_pipe(folder, trap):
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")


def own_operators(folder, trap):
    """A graph that asks for operators of a library, which a folder could bring."""
    (folder / "evil.so").write_bytes(b"no library")
    node = ("Evil", ["images"], ["embedding"], {"domain": "evil.so"})
    written(folder, [node], {"images": (FLOAT, ["n", 3, 8, 8])}, {"kind": "image"}, width=4)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (pickled, "no model that onnxruntime can load"),
        (zipped, "no model that onnxruntime can load"),
        (outside("../secret.bin"), "no model that onnxruntime can load"),
        (outside("{folder}/secret.bin"), "no model that onnxruntime can load"),
        (outside("link.bin"), "no model that onnxruntime can load"),
        (own_operators, "no model that onnxruntime can load"),
        (a_pipe, "holds no model.onnx"),
        (told(kind="__import__"), r"is no export of asterism, or is damaged \(kind"),
        (told(kind={"a": 1}), "is no export of asterism"),
        (told(shape=[3, 2**20, 2**20]), "larger than any"),
        (told(shape=[3, -8, 8]), "a side of -8"),
        (told(shape=8), "is no export of asterism"),
        (told(shape=[3, 8]), "images have three sides"),
        (told(class_names=[{}]), "its classes have no names"),
        (told(kind="text", shape=None), "its inputs are not those of texts"),
    ],
)
def test_what_a_strange_folder_says_does_nothing(write, message, trap, tmp_path):
    folder = of_pixels(tmp_path / "exported", (3, 8, 8))
    write(folder, trap)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        asterism.runtime.load(folder)


@pytest.mark.parametrize("described", ["", "{}", "[" * 100_000, '{"model": {"type": "os.system"}}'])
def test_a_damaged_tokenizer_is_named(described, tmp_path, tokenizer):
    folder = of_tokens(tmp_path, tokenizer)
    (folder / "tokenizer.json").write_text(described)
    with pytest.raises(ValueError, match="is damaged .*tokenizer.json describes none"):
        asterism.runtime.load(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="is damaged"):
        asterism.runtime.load(folder)


def test_the_service_of_the_examples(tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="pip install fastapi")
    from starlette.testclient import TestClient

    monkeypatch.setenv("EXPORTED", str(of_pixels(tmp_path, (1, 8, 8))))
    monkeypatch.syspath_prepend(ROOT / "examples" / "service")
    import service

    picture = io.BytesIO()
    drawn("L").save(picture, "PNG")
    monkeypatch.setattr(service.model, "predict", predicting(service.model))
    with TestClient(service.app) as client:
        answer = client.post("/predict", content=picture.getvalue())
        assert answer.json() == {"light": 0.75, "dark": 0.25}
        assert client.post("/predict", content=b"no picture").status_code == 400
        assert "cannot be read" in client.post("/predict", content=b"no picture").json()["error"]
        # A text is a path where pictures are taken: nobody may name the files of the machine.
        assert client.post("/embed", json=["a text"]).status_code == 404


def predicting(model):
    from asterism.predictions import Predictions

    def predict(given):
        model.embed(given)
        return Predictions.of(np.log([[0.25, 0.75]]), ("dark", "light"))

    return predict
