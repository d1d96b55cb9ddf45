"""Tests for asterism/bench.py."""

import csv
import json
import subprocess
import sys

import pytest
import yaml

from asterism import bench
from asterism.cli import main

GRID = {
    "common": {"data": "digits", "epochs": 1, "batch_size": 128},
    "pairs": {"to itself": {"teacher": "TEACHER", "student": "mlp"}},
    "seeds": [0, 1],
    "methods": {"plain": {}, "RKD": {"method": "RKD"}},
    "paper": {"to itself": {"RKD": 71.9}},
}


@pytest.fixture
def file(tmp_path):
    teacher = tmp_path / "teacher"
    command = ["train", "--model", "mlp", "--data", "digits", "--limit-steps", "1"]
    assert main([*command, "--out", str(teacher)]) == 0

    def write(**changes):
        text = yaml.safe_dump({**GRID, "out": str(tmp_path / "grid"), **changes}, sort_keys=False)
        path = tmp_path / "grid.yaml"
        path.write_text(text.replace("TEACHER", str(teacher)))
        return path

    return write


def test_two_processes_share_a_grid_and_nothing_is_run_twice(file, tmp_path, capsys):
    path = file()
    command = [sys.executable, "-m", "asterism", "bench", str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    shown = [process.communicate(timeout=200)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert shown[0] == shown[1]
    folders = sorted(p.name for p in (tmp_path / "grid").iterdir() if p.is_dir())
    assert folders == [f"to-itself_{m}_{s}" for m in ("plain", "rkd") for s in (0, 1)]

    times = {p: (tmp_path / "grid" / p / "result.json").stat().st_mtime_ns for p in folders}
    assert main(["bench", str(path)]) == 0
    after = {p: (tmp_path / "grid" / p / "result.json").stat().st_mtime_ns for p in folders}
    assert times == after

    table = capsys.readouterr().out
    assert "| to itself | RKD | 2 |" in table
    assert "| 71.9 |" in table
    with open(tmp_path / "grid" / "table.csv") as text:
        plain, rkd = csv.DictReader(text)
    found = [
        json.loads((tmp_path / "grid" / f"to-itself_rkd_{seed}" / "result.json").read_text())
        for seed in (0, 1)
    ]
    mean = sum(100 * r["student"]["classification"]["top1"] for r in found) / 2
    assert float(rkd["accuracy"]) == pytest.approx(mean)
    assert float(plain["cost"]) == 1


def test_a_broken_cell_is_named_and_tried_again(file, tmp_path, capsys):
    path = file(methods={"plain": {}, "wrong": {"method": "RKD", "lr": -1.0}}, seeds=[0])
    assert main(["bench", str(path)]) == 2
    error = capsys.readouterr().err
    assert "1 cells broke" in error
    assert "lr must be positive" in error
    path = file(methods={"plain": {}, "wrong": {"method": "RKD", "lr": 0.1}}, seeds=[0])
    assert main(["bench", str(path)]) == 0


def test_a_finished_cell_with_other_settings_is_refused(file, capsys):
    path = file(methods={"plain": {}}, seeds=[0])
    assert main(["bench", str(path), "--limit-steps", "1"]) == 0
    path = file(methods={"plain": {"lr": 0.01}}, seeds=[0])
    assert main(["bench", str(path)]) == 2
    assert "was finished with lr None, and the grid now says 0.01" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "pairs: {}", "a: b: c", "pairs: {}\nmethods: {}\nseed: 1"])
def test_what_is_no_grid_is_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="must have `pairs`|is no YAML"):
        bench.read_grid(path)
    with pytest.raises(FileNotFoundError, match="no bench file"):
        bench.read_grid(tmp_path / "nix.yaml")
