"""Tests for asterism/report/gate.py and `asterism report --require`."""

from xml.etree import ElementTree

import pytest
from folders import make_run

from asterism.cli import main


# Accuracy 82.6 (teacher 90.6), recall@1 75.1, overlap@10 31; parameters 272,474 (853,018).
@pytest.mark.parametrize(
    ("required", "code", "said"),
    [
        ("accuracy>=0.9*teacher", 0, "holds: run: accuracy is 82.6 % (teacher 90.6), to be"),
        ("accuracy>=0.98*teacher", 1, "FAILS: run: accuracy is 82.6 % (teacher 90.6), to be"),
        ("overlap@10 >= 0.31", 0, "holds"),
        ("Recall@1 > 0.8", 1, "recall@1 is 75.1 %, to be > 80.0 %"),
        ("parameters<0.5*teacher", 0, "holds"),
        ("parameters <= teacher", 0, "holds"),
        ("parameters < 1e5", 1, "FAILS: run: parameters is 272,474, to be < 100,000"),
        ("overlap@10>=0.5*teacher", 1, "overlap@10 of the teacher is not known"),
    ],
)  # fmt: skip
def test_a_requirement_decides_the_exit_code(tmp_path, capsys, required, code, said):
    run, junit = make_run(tmp_path / "run"), tmp_path / "gate.xml"
    assert main(["report", str(run), "--require", required, "--junit", str(junit)]) == code
    assert said in capsys.readouterr().out
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", str(code))
    assert suite[0].get("name") == required
    assert (suite[0].find("failure") is not None) == bool(code)


@pytest.mark.parametrize(
    ("required", "said"),
    [
        ("accuracy", "a requirement is a measure, >=, <=, > or <, and a number"),
        ("accuracy>=much", "a requirement is a measure"),
        ("beauty>=0.5", "beauty is no measure of run: it has accuracy, recall@1"),
        ("accuracy>=95", "accuracy is a share, and required as one: 0.95 for 95 %"),
    ],
)
def test_what_cannot_be_required_is_said(tmp_path, capsys, required, said):
    assert main(["report", str(make_run(tmp_path / "run")), "--require", required]) == 2
    assert said in capsys.readouterr().err


def test_all_runs_must_hold_all(tmp_path, capsys):
    runs = [str(make_run(tmp_path / name, shift=shift)) for name, shift in (("a", 0), ("b", -9))]
    out = str(tmp_path / "both.html")
    command = ["report", *runs, "--out", out, "--require", "accuracy>=0.8", "recall@1>=0.7"]
    assert main(command) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == ["holds", "holds", "FAILS", "FAILS"]
