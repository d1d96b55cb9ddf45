"""Tests for asterism/result.py and evaluate(): what came of a run, shown and kept."""

import json
import re

import numpy as np
import pytest
import yaml

import asterism
from asterism.cli import main
from asterism.run import Run, RunError

QUICK = {"data": "digits", "limit_steps": 2, "check": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    code = "from torch import nn\ndef make(classes, width=4):\n    deep = nn.Linear(64, width)\n"
    code += "    return nn.Sequential(nn.Flatten(), deep, nn.Linear(width, classes))\n"
    (folder / "own.py").write_text(code)
    teacher = asterism.train(f"{folder / 'own.py'}:make?width=8", out=folder / "teacher", **QUICK)
    taught_by = f"{folder / 'own.py'}:make?width=8&weights={teacher.run}"
    result = asterism.distill(
        taught_by, "mlp?hidden=8", method=asterism.RKD(), labels=False, out=folder / "run", **QUICK
    )
    return folder, teacher, result


def test_a_result_says_what_was_kept(runs):
    folder, teacher, result = runs
    for shown, each in ((repr(teacher), teacher), (repr(result), result)):
        assert shown == f"Result({str(each.run)!r}: {each.evaluation['headline']})"
        assert len(shown) < 600
    assert teacher._repr_html_().startswith("<p>Result(&#x27;")
    page = result._repr_html_()
    assert page.startswith('<iframe srcdoc="&lt;!')
    assert 'sandbox="allow-scripts"' in page
    assert result.page == folder / "run/report.html"


def test_no_folder_of_this_machine_leaves_in_a_card_or_the_numbers(runs):
    folder, teacher, _ = runs
    assert Run(teacher.run).read_card()["model"] == "own.py:make?width=8"
    for name in ("run/student.json", "run/report.json", "run/report.md", "teacher/student.json"):
        assert str(folder) not in (folder / name).read_text(), name


def test_evaluation_is_kept_with_its_own_page(runs, tmp_path, capsys):
    folder, teacher, result = runs
    asked = f"{folder / 'own.py'}:make?width=8&weights={teacher.run}"
    again = asterism.evaluate(result.run)
    assert again.page == result.page
    assert "its teacher, own.py:make?width=8&weights=teacher, is your own code" in repr(again)
    data = str(tmp_path / "unlabelled.npz")
    np.savez(data, x=np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8))
    other = asterism.evaluate(result.run, data=data, teacher=asked)
    assert other.page is None
    assert re.search(r"keeps \d+ % of the teacher's ten nearest neighbours with", repr(other))
    out = tmp_path / "other"
    typed = ["evaluate", str(result.run), "--data", data, "--out", str(out), "--teacher", asked]
    assert main([*typed, "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    kept = json.loads((out / "result.json").read_text())
    assert shown["measures"][0] == kept["measures"][0]
    assert shown["rows"] == kept["rows"] == 60
    assert yaml.safe_load((out / "config.yaml").read_text())["test_data"] == data
    assert (out / "report.html").is_file()
    assert main(["compare", str(out), str(result.run)]) == 0
    assert main(typed) == 2
    assert "holds results already: name another folder, or --overwrite" in capsys.readouterr().err
    with pytest.raises(RunError, match="is the run itself"):
        asterism.evaluate(result.run, out=result.run, overwrite=True)
    assert (result.run / "student.safetensors").exists()
