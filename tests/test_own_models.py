"""Users' own models: kept, loaded, taught with, gone on from, and their mistakes in words."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import asterism
from asterism import RKD, recipe
from asterism.alignment import align
from asterism.cli import main
from asterism.models.own import import_factory
from asterism.run import RunError

FILE = """
from __future__ import annotations
from dataclasses import dataclass

import torch
from torch import nn

@dataclass
class Sizes:  # its annotations are looked up in the module
    width: int

class Net(nn.Module):
    def __init__(self, classes, mean, std, sizes):
        super().__init__()
        self.statistics = torch.tensor([mean[0], std[0]])  # not among the weights
        self.features = nn.Linear(64, sizes.width)
        self.head = nn.Linear(sizes.width, classes)

    def forward(self, images):
        mean, std = self.statistics.to(images.device)
        return self.head(self.features((images - mean).flatten(1) / std).relu())

def make(classes, mean, std, width=8):
    return Net(classes, mean, std, Sizes(width))
"""
QUICK = {"batch_size": 64, "lr": 0.05}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "net.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def trained(file):
    name = f"{file}:make?width=12&embedding=features"
    return recipe.train(name, "digits", out=file.parent / "run", epochs=2, **QUICK)


def test_an_own_student_comes_back_with_all_its_arguments(file, trained, capsys):
    images = torch.rand(3, 1, 8, 8)
    expected = trained.student(images)
    assert expected.embedding.min() < 0  # before the ReLU: the submodule that was named
    for factory in (f"{file}:make", import_factory(f"{file}:make")):
        found = asterism.load(trained.run, factory=factory)(images)
        torch.testing.assert_close(found, expected)
    assert main(["evaluate", str(trained.run)]) == 2
    assert "imported: pass factory=…" in capsys.readouterr().err
    assert main(["evaluate", str(trained.run), "--factory", f"{file}:make"]) == 0
    assert f"{100 * trained.accuracy:.1f}" in capsys.readouterr().out


def test_an_own_student_teaches_and_goes_on(file, trained, tmp_path):
    name = f"{file}:make?weights={trained.run}"
    still = {"limit_steps": 1, "batch_size": 64, "lr": 1e-12}
    result = recipe.distill(name, name, "digits", out=tmp_path / "a", method=RKD(), **still)
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(result.student(images), trained.student(images))
    teacher = result.evaluation["teacher"]["classification"]["top1"]
    assert teacher == result.accuracy == trained.accuracy
    # A run folder's word is not taken for code: the teacher is named again, or left out.
    again = recipe.evaluate(result.run, factory=f"{file}:make")
    assert again.accuracy == trained.accuracy
    assert "its teacher, net.py:make?weights=run, is your own code" in again.evaluation["headline"]
    again = recipe.evaluate(result.run, factory=f"{file}:make", teacher=name)
    assert again.evaluation["headline"].startswith("The student keeps 100 % of the teacher's")
    with pytest.raises(ValueError, match="names no teacher that can be opened again"):
        align(result.run, factory=f"{file}:make")
    found = align(result.run, factory=f"{file}:make", to=name)
    assert found["quality"]["item_recall@1"]["value"] > 0.95


def test_a_student_goes_on_from_an_earlier_run(tmp_path):
    still = {"limit_steps": 1, "batch_size": 64, "lr": 1e-12}
    first = recipe.train("convnet?width=8", "digits", out=tmp_path / "a", epochs=1, **QUICK)
    second = recipe.train(str(first.run), "digits", out=tmp_path / "b", **still)
    taught = recipe.distill(
        str(first.run), "mlp", "digits", out=tmp_path / "taught", report=False, **still
    )
    (tmp_path / "a").rename(tmp_path / "gone")  # the second run stands alone
    with pytest.raises(ValueError, match=r"taught cannot be opened again.*\(evaluate --teacher"):
        recipe.evaluate(taught.run)
    assert recipe.evaluate(taught.run, teacher=tmp_path / "gone").evaluation["fidelity"]
    parameters = dict(asterism.load(second.run).named_parameters())
    torch.testing.assert_close(parameters, dict(first.student.named_parameters()))
    np.savez(tmp_path / "d.npz", x=np.zeros((40, 8, 8), np.uint8), y=np.arange(40) % 4)
    with pytest.raises(ValueError, match="has 10 classes, and this run needs 4"):
        recipe.train(str(second.run), str(tmp_path / "d.npz"), out=tmp_path / "c", **still)


def objects(seed=0):
    """Python objects as another process would make them anew."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(200, 1, 4, 4, generator=generator)
    data = TensorDataset(images, (images.flatten(1).mean(1) > 0.5).long())
    torch.manual_seed(seed)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    return teacher, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 2)), data


def test_a_run_with_python_objects_goes_on_in_a_new_process(tmp_path):
    options = {"out": tmp_path / "run", "epochs": 2, "method": RKD(), "batch_size": 32}
    recipe.distill(*objects(), **options)
    (tmp_path / "run" / "result.json").unlink()  # as if stopped before the end
    options["resume"] = True
    for objects_now, wrong in (
        ((objects(1)[0], *objects()[1:]), "teacher"),
        ((*objects()[:2], objects(1)[2]), "data"),
    ):
        with pytest.raises(RunError, match=f"begun with other contents of its {wrong}"):
            recipe.distill(*objects_now, **options)
    with pytest.raises(RunError, match="begun with student 'python:.*objects.*<lambda>'"):
        recipe.distill(objects()[0], "mlp", objects()[2], **options)
    assert recipe.distill(*objects(), **options).accuracy is not None
    with pytest.raises(ValueError, match="with data 'python:torch.utils.data.dataset.TensorD"):
        recipe.evaluate(tmp_path / "run", factory=objects()[1])


def test_a_student_without_a_classifier_is_no_use_to_labels(tmp_path):
    teacher, _, data = objects()
    student = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    options = {"out": tmp_path / "run", "method": RKD(), "limit_steps": 1, "batch_size": 32}
    with pytest.raises(ValueError, match="student gives no scores of 2 classes"):
        recipe.distill(teacher, student, data, **options)
    assert recipe.distill(teacher, student, data, labels=False, **options).accuracy is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("import torch", "import torchh"), "cannot import FILE: ModuleNotFoundError: No module"),
        (("class Net", "clas Net"), "cannot import FILE: SyntaxError: invalid syntax"),
        (("return Net(", "return None.x("), "FILE:make failed: AttributeError: 'NoneType' object"),
        (("self.features((", "self.feature(("), "cannot take images of shape (1, 8, 8): Attribu"),
        (("s - mean", "s - mean[:2]"), "cannot take images of shape (1, 8, 8): IndexError: slice"),
    ],
)
def test_a_mistake_in_an_own_file_is_one_sentence_with_its_line(tmp_path, capsys, change, message):
    path = tmp_path / "net.py"
    path.write_text(FILE.replace(*change))
    command = ["train", "--model", f"{path}:make", "--data", "digits"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message.replace("FILE", str(path)) in error
    line = next(i for i, x in enumerate(path.read_text().split("\n"), 1) if change[1] in x)
    assert f"net.py, line {line})" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
