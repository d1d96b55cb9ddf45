"""Tests for asterism/report/comparison.py and `asterism compare`."""

import csv
import io
import json
import statistics
from pathlib import Path

import pytest
import yaml
from report.folders import make_run

from asterism.cli import main
from asterism.report import read_accounts, write_report
from asterism.report.comparison import compare


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    shifts = {"rkd_0": 0.0, "rkd_1": 1.5, "rkd_2": -2.0}
    made = [
        make_run(folder / name, seed=i, shift=shift, sampled=False)
        for i, (name, shift) in enumerate(shifts.items())
    ]
    made.append(make_run(folder / "high", lr=0.2, shift=5, sampled=False))
    made.append(make_run(folder / "plain", beside=False, sampled=False))
    return [str(path) for path in made]


def printed(capsys, *words):
    assert main(["compare", *words]) == 0
    return capsys.readouterr().out


def test_seeds_of_the_same_settings_are_one_row(runs, capsys):
    rows = json.loads(printed(capsys, *runs, "--format", "json"))
    assert [row["name"] for row in rows] == ["rkd …", "high", "plain", "teacher runs/teacher"]
    assert [row["seeds"] for row in rows] == [["0", "1", "2"], ["0"], ["0"], []]
    assert [row["differs"] for row in rows] == ["lr 0.1", "lr 0.2", "", ""]
    assert [row["method"] for row in rows] == ["RKD", "RKD", "labels only", ""]
    accuracy = [82.6, 84.1, 80.6]
    found = rows[0]["measures"]["accuracy"]
    assert found["mean"] == pytest.approx(statistics.mean(accuracy))
    assert found["sd"] == pytest.approx(statistics.stdev(accuracy))
    assert rows[1]["measures"]["accuracy"] == {"mean": 87.6, "sd": None, "unit": "%"}
    assert rows[2]["measures"]["neighbour overlap@10"]["mean"] is None
    assert rows[3]["measures"]["accuracy"]["mean"] == pytest.approx(90.6)


def test_formats_agree(runs, capsys):
    table = printed(capsys, *runs)
    markdown = printed(capsys, *runs, "--format", "markdown")
    for text in (table, markdown):
        assert "82.4 ± 1.8" in text
        assert "lr 0.2" in text
    assert markdown.splitlines()[0].startswith(
        "| run | method | differs in | seeds | accuracy, % |"
    )
    lines = list(csv.DictReader(io.StringIO(printed(capsys, *runs, "--format", "csv"))))
    assert float(lines[0]["accuracy"]) == pytest.approx(82.4333, abs=1e-3)
    assert lines[2]["neighbour overlap@10"] == ""


def test_brackets_and_bars_in_names_are_no_markup(tmp_path, capsys):
    run = make_run(tmp_path / "[bold]a|b[", sampled=False)
    assert "[bold]a|b[" in printed(capsys, str(run))
    assert "\\[bold\\]a\\|b\\[" in printed(capsys, str(run), "--format", "markdown")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare"], "needs RUNS"),
        (["compare", "nix"], "nothing at"),
        (["compare", "nix", "--format", "xml"], "--format takes one of table, markdown, csv, json"),
        (["report", "nix"], "nothing at"),
        (["report", "nix", "--out", "page.pdf"], "must end in .html; got page.pdf"),
    ],
)
def test_mistakes(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_the_same_settings_on_other_contents_are_rows_of_their_own(tmp_path):
    """The same name had other data, or a launcher started several processes."""
    runs = [make_run(tmp_path / name) for name in "abc"]
    for run, known in zip(runs, ({"data": "1"}, {"data": "2"}, {"processes": 2}), strict=True):
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "provenance": known}))
    rows = compare(read_accounts(runs)).rows
    assert [row.name for row in rows][:3] == ["a", "b", "c"]
    assert rows[0].differs == "data contents 1"


def test_a_report_takes_no_other_files_place(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    Path("notes.md").write_text("years of work")
    with pytest.raises(ValueError, match="is there, and is no report of asterism's"):
        write_report([run], "notes.html")
    assert Path("notes.md").read_text() == "years of work"
    write_report([run], "page.html")
    write_report([run], "page.html")
    write_report([run], run / "report.html")
    Path("page.html").write_text("my own")
    with pytest.raises(ValueError, match="is there, and is no report"):
        write_report([run], "page.html")
