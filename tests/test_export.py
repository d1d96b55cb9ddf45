"""Exports that need no other library, and what is refused; others' formats are in tests/hub."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from students import finished_run
from torch import nn
from words import WORDS

import asterism
from asterism.exporters import EXPORTERS
from asterism.exporters.parity import Difference, refuse_beyond
from asterism.modality import ARRAY
from asterism.models import Spec, build

OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.embed = nn.Linear(64, 7)
        self.classify = nn.Linear(7, classes)

    def forward(self, images):
        return self.classify(self.embed(images.flatten(1)).relu())

class Counting(Net):
    def forward(self, images):
        return super().forward(images) * len(images)

class Moody(Net):
    def forward(self, images):
        return super().forward(images) if images.mean() > 0.3 else super().forward(-images)
"""
TEXTS = [f"the {word} sat on a mat" for word in WORDS]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tokenizer):
    """A run of each kind of student, by name."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "net.py").write_text(OWN)
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(40, 5)).astype("float32"))
    images, texts = Spec(10, (1, 8, 8)), Spec(None, None, tokenizer=tokenizer)
    arrays = Spec(None, (5,), mean=(0.0,), std=(1.0,), modality=ARRAY)
    kinds = {
        "image": ("convnet?width=4", images, "digits"),
        "array": ("mlp?hidden=8&dim=6", arrays, folder / "rows.npy"),
        "own": (f"{folder}/net.py:Net", images, "digits"),
        "static": ("text-static?width=6", texts, folder / "texts.txt"),
        "weighted": ("text-static?width=6&weighted=true", texts, folder / "texts.txt"),
        "transformer": ("text-transformer?width=8&layers=1", texts, folder / "texts.txt"),
    }
    return {kind: finished_run(folder / kind, *made, aligned=3) for kind, made in kinds.items()}


KINDS = ["image", "array", "own", "static", "weighted", "transformer"]


def options(kind, run):
    return {"factory": f"{run.parent}/net.py:Net"} if kind == "own" else {}


@pytest.mark.parametrize(
    ("kind", "aligned"), [*((kind, False) for kind in KINDS), ("own", True), ("static", True)]
)
def test_state_and_pt2_of_every_kind_of_student(kind, aligned, runs, tmp_path):
    run = runs[kind]
    given = {"out": tmp_path / "out", "aligned": aligned, **options(kind, run)}
    state, pt2 = asterism.export(run, ["state", "pt2"], **given)
    student = asterism.load(run, aligned=aligned, **options(kind, run))
    again = asterism.load(state.folder, aligned=aligned, **options(kind, run))
    for name, tensor in student.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert state.largest_difference == 0
    assert pt2.largest_difference < 1e-5
    trials = [each.trial for each in pt2.differences]
    assert {"1 real row", "7 real rows"} < set(trials)
    assert len(trials) >= 5
    assert pt2.compared_on == "rows of the run's data"
    for exported in (state, pt2):
        account = json.loads((exported.folder / "export.json").read_text())
        assert account["largest_difference"] == exported.largest_difference
        for file in exported.folder.rglob("*"):  # nothing tells of this machine
            assert str(run.parent).encode() not in file.read_bytes(), file
            assert str(asterism.__path__[0]).encode() not in file.read_bytes(), file


def test_the_card_loads_it_in_a_fresh_process(runs, tmp_path):
    """What the card says, to the letter: torch and tokenizers alone for pt2."""
    exports = asterism.export(runs["transformer"], ["state", "pt2"], out=tmp_path / "out")
    samples = ["the cat", "a", ""]
    wanted = asterism.load(runs["transformer"])(samples)
    np.save(tmp_path / "wanted.npy", wanted.embedding.detach().numpy())
    code = [f"import numpy, os\nsamples = {samples}\n"]
    for exported in exports:
        assert yaml_front(exported.folder)["library_name"] == "asterism"
        code.append(f"os.chdir({str(exported.folder)!r})\n{snippet(exported.folder)}")
        code.append(f"wanted = numpy.load({str(tmp_path / 'wanted.npy')!r})\n")
        code.append("assert abs(embedding.detach().numpy() - wanted).max() < 1e-5\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(asterism.__path__[0]).parent)}
    subprocess.run([sys.executable, "-c", "".join(code)], check=True, env=environment)


def snippet(folder):
    return re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]


def yaml_front(folder):
    import yaml

    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def test_what_a_format_cannot_hold_is_said_with_what_can(runs, tmp_path):
    for kind, name, why in (
        ("image", "timm", "it is no network of timm.* onnx, pt2, state and openvino can"),
        ("image", "sentence-transformers", "it takes texts"),
        ("weighted", "model2vec", "its mean is weighted"),
        ("transformer", "sentence-transformers", "no module for such a network"),
        ("static", "transformers", "no encoder of transformers"),
    ):
        subject = subject_of(runs[kind])
        with pytest.raises(ValueError, match=why):
            refuse(EXPORTERS[name], subject)


def subject_of(run):
    from asterism.exporters.subject import Subject
    from asterism.run import Run

    return Subject(run=run, student=asterism.load(run), card=Run(run).read_card())


def refuse(exporter, subject):
    from asterism.exporters.formats import refuse

    refuse(exporter, subject)


@pytest.mark.parametrize("cls", ["Counting", "Moody"])
def test_a_network_that_no_graph_can_hold_leaves_nothing_behind(cls, tmp_path):
    """One that counts its samples in Python, and one that looks at their values."""
    (tmp_path / "net.py").write_text(OWN)
    name = f"{tmp_path}/net.py:{cls}"
    run = finished_run(tmp_path / "run", name, Spec(10, (1, 8, 8)), "digits")
    with pytest.raises(ValueError, match="torch.export cannot trace the student: .* --to state"):
        asterism.export(run, "pt2", factory=name, out=tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()
    assert asterism.export(run, "state", factory=name)[0].folder == run / "export" / "state"


def test_beyond_the_tolerance_nothing_is_written(runs, tmp_path, monkeypatch):
    exporter = EXPORTERS["state"]
    honest = type(exporter).read

    def lying(self, subject, folder):
        encode = honest(self, subject, folder)
        return lambda samples: encode(samples)._replace(embedding=encode(samples).embedding * 1.01)

    monkeypatch.setattr(type(exporter), "read", lying)
    with pytest.raises(ValueError, match="differs from the student by 0.01 .* --tolerance is 0.00"):
        asterism.export(runs["image"], "state", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())
    assert asterism.export(runs["image"], "state", out=tmp_path / "out", tolerance=0.02)


@pytest.mark.parametrize("bad", [float("inf"), 1e-3])
def test_no_number_is_no_agreement(bad):
    made = [Difference("a", 1, 0.0, None), Difference("b", 1, 0.0, bad)]
    with pytest.raises(ValueError, match="differs"):
        refuse_beyond(1e-4, EXPORTERS["state"], made)
    refuse_beyond(1e-4, EXPORTERS["state"], [made[0], Difference("b", 1, bad, None, limit="why")])


def test_used_folders_moved_data_and_other_mistakes(runs, tmp_path, capsys):
    out = tmp_path / "out"
    asterism.export(runs["array"], "state", out=out)
    before = (out / "state" / "export.json").read_bytes()
    with pytest.raises(ValueError, match="holds an export: replace it with --overwrite"):
        asterism.export(runs["array"], "state", out=out)
    asterism.export(runs["array"], "state", out=out, overwrite=True)
    assert (out / "state" / "export.json").read_bytes() == before
    (tmp_path / "mine" / "state").mkdir(parents=True)
    for place in (tmp_path / "mine", out):  # beside an export, too: the folder is replaced whole
        (place / "state" / "thesis.txt").write_text("mine")
        with pytest.raises(ValueError, match=r"holds thesis\.txt, which is no part of an export"):
            asterism.export(runs["array"], "state", out=place, overwrite=True)
    with pytest.raises(ValueError, match="--tolerance must be above 0; got -1"):
        asterism.export(runs["array"], "state", tolerance=-1)
    with pytest.raises(ValueError, match="unknown format 'onx': choose from onnx, "):
        asterism.export(runs["array"], "onx")
    with pytest.raises(ValueError, match="--int8 is for onnx; got --to state"):
        asterism.export(runs["array"], "state", int8=True)
    with pytest.raises(ValueError, match="--uint8 is for images, and the student .* takes arrays"):
        asterism.export(runs["array"], "pt2", uint8=True)
    spec = Spec(None, (5,), mean=(0.0,), std=(1.0,), modality=ARRAY)
    moved = finished_run(tmp_path / "moved", "mlp", spec, tmp_path / "gone.npy")
    exported = asterism.export(moved, "state")[0]
    assert exported.compared_on == "made-up rows, since the run's data were not there"
    assert "compared on made-up rows: " in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):
        asterism.export(moved, "pt2", data=tmp_path / "gone.npy")


@pytest.mark.parametrize("there", [True, False])
def test_images_as_bytes(there, runs, tmp_path):
    run = runs["image"]
    if not there:  # compared on made-up rows, which are bytes, too
        run = finished_run(tmp_path / "run", "convnet?width=4", Spec(10, (1, 8, 8)), "gone.npz")
    exported = asterism.export(run, "pt2", out=tmp_path / "out", uint8=True)[0]
    model = torch.export.load(exported.folder / "model.pt2").module()
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    wanted = asterism.load(run)(images / 255)
    torch.testing.assert_close(model(images)["embedding"], wanted.embedding)


@pytest.mark.parametrize("name", ["text-static?width=6", "text-transformer?width=8&layers=1"])
def test_torch_export_of_strings_is_refused(name, tokenizer):
    """It would take the tokens of the example for constants."""
    model = build(name, Spec(None, None, tokenizer=tokenizer)).eval()

    class Strings(nn.Module):
        def forward(self, x):
            return model(["the cat"]).embedding + x

    with pytest.raises(Exception, match="torch.export would keep the tokens of this example"):
        torch.export.export(Strings(), (torch.zeros(1),))


def test_an_export_is_part_of_its_run(runs):
    """A run that is replaced takes its exports with it: they are of another student."""
    run = finished_run(runs["image"].parent / "again", "convnet?width=4", Spec(10, (1, 8, 8)), "")
    asterism.export(run, "state")
    with asterism.run.Run(run).writing(overwrite=True):
        assert not (run / "export").exists()
