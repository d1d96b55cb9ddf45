"""Tests for asterism/bench.py."""

import contextlib
import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from rich.console import Console

from asterism import bench
from asterism.cli import main
from asterism.cli.bench import progress
from asterism.run import Run

GRID = {
    "common": {"data": "digits", "epochs": 1, "batch_size": 128},
    "pairs": {"to itself": {"teacher": "TEACHER", "student": "mlp"}},
    "seeds": [0, 1],
    "methods": {"plain": {}, "RKD": {"method": "RKD"}},
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


@pytest.mark.slow
def test_two_processes_share_a_grid_and_nothing_is_run_twice(file, tmp_path, capsys):
    path = file(paper={"to itself": {"RKD": 71.9}})
    command = [sys.executable, "-m", "asterism", "bench", str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    shown = [process.communicate(timeout=280)[0] for process in both]
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

    screen = io.StringIO()
    Console(file=screen, width=100).print(progress(bench.read_grid(path)))
    assert screen.getvalue().count("2/2") == 2
    assert f"{mean:.1f}" in screen.getvalue()

    # A run that was resumed when it had no steps left has no duration of a step.
    result = tmp_path / "grid" / "to-itself_plain_0" / "result.json"
    result.unlink()
    assert main(["bench", str(path)]) == 0
    assert json.loads(result.read_text())["seconds_per_step"] is None
    assert "| to itself | plain | 2 |" in capsys.readouterr().out

    config = tmp_path / "grid" / "to-itself_rkd_1" / "config.yaml"
    kept = yaml.safe_load(config.read_text())
    for name in ("data", "teacher"):
        other = {**kept, "provenance": {**kept["provenance"], name: "0" * 16}}
        config.write_text(yaml.safe_dump(other))
        assert main(["bench", str(path)]) == 2
        assert f"with different contents of the {name} (fingerprints 000" in capsys.readouterr().err


def test_a_broken_cell_is_named_and_tried_again(file, tmp_path, capsys):
    late = {"method": "RKD", "samples_per_class": 1000}  # found out only when the data are there
    path = file(methods={"wrong": late}, seeds=[0])
    assert main(["bench", str(path)]) == 2
    error = capsys.readouterr().err
    assert "1 cells broke" in error
    assert "is more than the" in error
    log = tmp_path / "grid" / "to-itself_wrong_0.log"
    assert f"(whole output: {log})" in error
    assert "is more than the" in log.read_text()
    assert main(["bench", str(path), "--limit-steps", "1"]) == 2
    assert "whole output" not in capsys.readouterr().err  # a dry run leaves none
    path = file(methods={"wrong": {"method": "RKD"}}, seeds=[0])
    assert main(["bench", str(path)]) == 0
    assert not log.exists()


def test_a_broken_cell_is_mended_by_other_settings_if_it_has_saved_nothing(file, tmp_path, capsys):
    broken = {"method": "RKD", "lr": 1e30}
    path = file(methods={"RKD": broken}, seeds=[0])
    assert main(["bench", str(path)]) == 2
    assert "not finite" in capsys.readouterr().err
    cell = tmp_path / "grid" / "to-itself_rkd_0"
    assert (cell / "config.yaml").exists()
    assert not list(cell.glob("checkpoints/*.ckpt"))

    begun = {"method": "RKD", "lr": 0.05, "epochs": 3, "limit_steps": 12}
    path = file(methods={"RKD": begun}, seeds=[0])
    assert main(["bench", str(path)]) == 0
    (cell / "result.json").unlink()  # as if it had ended early, with a checkpoint
    capsys.readouterr()
    path = file(methods={"RKD": begun | {"lr": 0.02}}, seeds=[0])
    assert main(["bench", str(path), "--table-only"]) == 2
    error = capsys.readouterr().err
    assert f"{cell} was begun with lr 0.05, and the grid now says 0.02: name another" in error
    path = file(methods={"RKD": begun | {"skip_nonfinite": 10}}, seeds=[0])
    assert main(["bench", str(path)]) == 0


def test_a_dry_run_tries_every_cell_and_leaves_nothing(file, tmp_path, capsys):
    path = file(methods={"R|KD": {"method": "RKD"}}, seeds=[0])
    before = sorted(tmp_path.iterdir())
    assert main(["bench", str(path), "--limit-steps", "1"]) == 0
    shown = capsys.readouterr().out
    assert "Dry run, 1 steps a cell: the figures mean nothing." in shown
    assert r"| to itself | R\|KD | 1 |" in shown  # a bar in a name is no column
    assert sorted(tmp_path.iterdir()) == before
    assert main(["bench", str(path), "--limit-steps", "0"]) == 2


def test_a_finished_cell_with_other_settings_is_refused(file, tmp_path, capsys):
    rkd = {"class_path": "RKD", "init_args": {"angle_weight": 0.5}}
    common = {**GRID["common"], "lr": "5e-2"}  # text to YAML 1.1, a number to a reader
    path = file(methods={"RKD": {"method": rkd}}, seeds=[0], common=common)
    assert main(["bench", str(path)]) == 0
    result = tmp_path / "grid" / "to-itself_rkd_0" / "result.json"
    made = result.stat().st_mtime_ns
    config = yaml.safe_load((result.parent / "config.yaml").read_text())
    assert config["lr"] == 0.05
    del config["precision"]  # as if finished before there was such an option
    (result.parent / "config.yaml").write_text(yaml.safe_dump(config))

    same = {"class_path": "asterism.RKD", "init_args": {"angle_weight": "5e-1"}}
    path = file(
        methods={"RKD": {"method": [same], "lr": 0.05, "workers": 0, "report": False}}, seeds=[0]
    )
    assert main(["bench", str(path)]) == 0
    assert result.stat().st_mtime_ns == made
    capsys.readouterr()
    for method, options, message in (
        ({}, {"lr": 0.01}, "finished with lr 0.05, and the grid now says 0.01"),
        ({}, {"lr": None}, "finished with lr 0.05, and the grid now says None"),
        ({}, {"precision": "bf16"}, "finished with precision '32', and the grid now says 'bf16'"),
        ({"angle_weight": 0.6}, {}, "finished with method [{'class_path': 'asterism.RKD', "),
        ({"distance_weight": 2}, {}, "finished with method [{'class_path': 'asterism.RKD', "),
    ):
        wish = {"class_path": "RKD", "init_args": {"angle_weight": 0.5, **method}}
        path = file(methods={"RKD": {"method": wish, "lr": 0.05, **options}}, seeds=[0])
        assert main(["bench", str(path), "--table-only"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "{}", '{"student": 3, "seconds_per_step": 1}'])
def test_a_finished_cell_whose_result_cannot_be_read_is_named(tmp_path, capsys, text):
    (tmp_path / "a.yaml").write_text(
        yaml.safe_dump({**GRID, "seeds": [0], "out": str(tmp_path / "grid")})
    )
    folder = tmp_path / "grid" / "to-itself_plain_0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(text)
    assert main(["bench", str(tmp_path / "a.yaml"), "--table-only"]) == 2
    error = capsys.readouterr().err
    assert f"{folder / 'result.json'} is damaged" in error
    assert f"Delete {folder}, and the cell is run again." in error
    assert error.count("\n") == 1


def test_a_killed_cell_is_not_named_by_its_progress(tmp_path, capsys, monkeypatch):
    killed = subprocess.CompletedProcess([], -9, "", "epoch 3/30  loss 1.77")
    monkeypatch.setattr(bench.runner, "_ended", lambda command: killed)
    grid = {**GRID, "out": str(tmp_path / "grid"), "methods": {"KD [t=4]": {"method": "KD"}}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({**grid, "seeds": [0]}))
    assert main(["bench", str(tmp_path / "a.yaml")]) == 2
    error = capsys.readouterr().err
    assert "to itself, KD [t=4], seed 0" in error  # brackets are no markup
    assert "to-itself_kd-t-4_0: killed by signal 9" in error
    assert "epoch 3/30" not in error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_grid_takes_its_cell_along_and_says_how_to_go_on(file, tmp_path, number):
    path = file(methods={"KD": {"method": "KD", "epochs": 10_000, "batch_size": 2}}, seeds=[0])
    command = [sys.executable, "-m", "asterism", "bench", str(path)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a shell script ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    run = Run(tmp_path / "grid" / "to-itself_kd_0")
    while not run.read_metrics():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    said = process.communicate(timeout=100)[1]
    assert process.returncode == 130
    assert "asterism: interrupted. The same command goes on." in said
    assert (tmp_path / "grid" / "table.md").exists()
    assert not run.in_use()
    assert list(run.checkpoints.glob("step-*.ckpt"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 3}, "`seeds` must be a list of whole numbers, [0, 1, 2] say; got 3."),
        ({"seeds": [0, 0]}, "would share the folder"),
        ({"pairs": {"a": {"teacher": "t"}}}, "the pair 'a' must name teacher and student"),
        ({"pairs": {"a": {"student": "mlp"}}}, "the pair 'a' must name teacher and student"),
        ({"pairs": {"a": "mlp"}}, "`pairs: a` must be a mapping (teacher and student); got 'mlp'"),
        ({"methods": ["KD"]}, "`methods` must be a mapping (name: options); got ['KD']"),
        ({"methods": {"KD": "KD"}}, "`methods: KD` must be a mapping (option: value); got 'KD'"),
        ({"methods": {"plain": {"method": None}}}, "'plain' has an empty `method`: name one"),
        ({"methods": {"R+K": {}, "R K": {}}}, "and to itself, R K, seed 0 would share the folder"),
        ({"methods": {}}, "`methods` must name at least one."),
        ({"pairs": {}}, "`pairs` must name at least one."),
        ({"common": {"data": "digits", "seed": 1}}, "'seed' is the grid's own to set"),
        ({"methods": {"a": {"with_baselines": True}}}, "'with_baselines' has no place in a grid"),
        ({"common": {"report": True}}, "'report' has no place in a grid"),
        ({"common": {"batch-size": 8}}, "options in a file have underscores: 'batch_size'"),
        ({"paper": {"to itself": {"KDD": 1}}}, "`paper` names 'KDD', which is no pair or method"),
        ({"methods": {"a": {"lr": "fast"}}}, "to itself, a, seed 0: --lr takes a number; got fast"),
        ({"methods": {"a": {"lr": -1}}}, "to itself, a, seed 0: lr must be above 0; got -1.0"),
        (
            {"methods": {"a": {"labels": True}}},
            "a, seed 0: --labels is an option of `asterism distill`",
        ),
        ({"methods": {"a": {"method": "RKDD"}}}, "unknown method 'RKDD': choose from"),
        (
            {"methods": {"a": {"method": {"class_path": "KD", "init_args": {"x": 1}}}}},
            "--method.x is no option of this method",
        ),
        (
            {"methods": {"a": {"method": {"class_path": "KD", "temperature": 3}}}},
            "seed 0: --method in a file is a name, or {class_path: NAME, init_args: {option: ",
        ),
        (
            {"methods": {"a": {"method": [{"class_path": "KD", "temperature": 3}, "RKD"]}}},
            "got options beside init_args, or nothing in it.",
        ),
        (
            {"methods": {"a": {"method": {"class_path": "RRD", "init_args": None}}}},
            "got options beside init_args, or nothing in it.",
        ),
        ({"common": {"epochs": 1}}, "asterism train needs --data"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_before_anything_runs(
    tmp_path, capsys, changes, message
):
    grid = {**GRID, "out": str(tmp_path / "grid"), **changes}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    assert main(["bench", str(tmp_path / "a.yaml")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize("text", ["[]", "pairs: {}", "a: b: c", "pairs: {}\nmethods: {}\nseed: 1"])
def test_what_is_no_grid_is_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="must have `pairs`|is no YAML"):
        bench.read_grid(path)
    path.write_text("pairs: {a: {student: mlp}}\nmethods:\n  KD: {lr: 1}\n  KD: {lr: 2}")
    with pytest.raises(ValueError, match="'KD' stands twice in the mapping from line 3 on"):
        bench.read_grid(path)
    with pytest.raises(FileNotFoundError, match="nothing at .*: name a bench file"):
        bench.read_grid(tmp_path / "nix.yaml")


@pytest.fixture
def pictures(tmp_path):
    """Pictures of two new classes, large and in colour."""
    path = tmp_path / "pictures.npz"

    def write(seed=0):
        draw = np.random.default_rng(seed)
        y = np.arange(40) % 2
        x = np.clip(draw.normal(90 + 60 * y[:, None, None, None], 30, (40, 3, 12, 10)), 0, 255)
        np.savez(path, x=x.astype(np.uint8), y=y, names=["cat", "dog"])
        return path

    return write


@pytest.fixture
def at_hand(monkeypatch):
    """Cells and probes in this process: a process for each takes seconds to begin."""

    def ended(command):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(command[3:])
        return subprocess.CompletedProcess(command, code, stderr=said.getvalue())

    monkeypatch.setattr("asterism.bench.runner._ended", ended)


BRIEF = {"data": "digits", "epochs": 1, "limit_steps": 2, "batch_size": 32, "check": False}


def test_generations_are_made_in_order_and_go_on_at_any(file, tmp_path, pictures, at_hand, capsys):
    """A pair's teacher is an earlier pair's student of the same method and seed."""
    pairs = {
        "first": {"teacher": "TEACHER", "student": "mlp"},
        "second": {"teacher": {"pair": "first"}, "student": "mlp"},
        "third": {"teacher": {"pair": "second"}, "student": "mlp"},
    }
    methods = {"RKD": {"method": "RKD"}}
    path = file(
        common=BRIEF, pairs=pairs, methods=methods, seeds=[0], probe={"new": str(pictures())}
    )
    grid = bench.read_grid(path)
    assert [cell.settings["teacher"] for cell in grid.cells[1:]] == [
        cell.settings["out"] for cell in grid.cells[:2]
    ]
    assert main(["bench", str(path), "--limit-steps", "1"]) == 0  # with the teachers of the dry run
    capsys.readouterr()
    assert main(["bench", str(path)]) == 0
    before = {cell.pair: (cell.run.path / "result.json").stat().st_mtime_ns for cell in grid.cells}
    assert list(before.values()) == sorted(before.values())
    table = capsys.readouterr().out
    assert "| new probe % |" in table
    found = json.loads(grid.cells[2].probed("new").read_text())
    assert f"{100 * found['student']['probe']['value']:.1f} |" in table.splitlines()[-1]

    # Stopped in its third generation, only that one goes on.
    (grid.cells[2].run.path / "result.json").unlink()
    assert main(["bench", str(path)]) == 0
    after = {cell.pair: (cell.run.path / "result.json").stat().st_mtime_ns for cell in grid.cells}
    assert {pair for pair in after if after[pair] != before[pair]} == {"third"}
    assert "probed" not in capsys.readouterr().err  # the same weights, the same figures

    # Of a generation that is made anew, the next one is no student any more.
    other = tmp_path / "other"
    command = ["train", "--model", "mlp", "--data", "digits", "--limit-steps", "1", "--seed", "5"]
    assert main([*command, "--out", str(other)]) == 0
    for name in ("student.safetensors", "student.json"):
        shutil.copy(other / name, grid.cells[0].run.path / name)
    capsys.readouterr()
    assert main(["bench", str(path), "--table-only"]) == 2
    assert "learned from another state" in capsys.readouterr().err


def test_what_a_broken_generation_would_have_taught_is_not_waited_for(file, at_hand, capsys):
    pairs = {
        "first": {"teacher": "TEACHER", "student": "mlp"},
        "second": {"teacher": {"pair": "first"}, "student": "mlp"},
    }
    wrong = {"wrong": {"method": "RKD", "samples_per_class": 1000}}
    assert main(["bench", str(file(common=BRIEF, pairs=pairs, methods=wrong, seeds=[0]))]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "2 cells broke" in error
    assert "its teacher, first, wrong, seed 0, broke" in error


def test_probes_are_made_again_of_other_data_or_options(file, tmp_path, pictures, at_hand, capsys):
    both = {"common": BRIEF, "methods": {"plain": {}}, "seeds": [0, 1]}
    path = file(**both, probe={"new": {"data": str(pictures())}})
    assert main(["bench", str(path)]) == 0
    capsys.readouterr()
    options = {"data": str(tmp_path / "pictures.npz"), "test_share": 0.5, "metric": "cosine"}
    path = file(**both, probe={"new": options})
    assert main(["bench", str(path), "--table-only"]) == 0
    assert "| – | 1.00× |" in capsys.readouterr().out
    assert main(["bench", str(path)]) == 0
    cells = bench.read_grid(path).cells
    found = json.loads(cells[0].probed("new").read_text())
    assert (found["tested"], found["metric"]) == (20, "cosine")
    pictures(seed=1)
    cells[0].probed("new").unlink()
    assert main(["bench", str(path)]) == 2
    assert "different contents of new" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probe": {"new": {"test_data": "digits"}}}, "must name its `data`"),
        ({"probe": {"new": "nowhere.npz"}}, "nowhere.npz"),
        (
            {"probe": {"new": {"data": "digits", "metric": "far"}}},
            "the probe 'new': --metric takes",
        ),
        (
            {"probe": {"new": {"data": "digits", "test_share": "half"}}},
            "the probe 'new': --test-share takes",
        ),
        ({"pairs": {"a": {"teacher": {"pair": "b"}, "student": "mlp"}}}, "of an earlier pair"),
        ({"pairs": {"a": {"teacher": {"run": "b"}, "student": "mlp"}}}, "of an earlier pair"),
    ],
)
def test_probes_and_teachers_that_cannot_be_are_refused_before_anything_runs(
    changes, message, file, capsys
):
    assert main(["bench", str(file(common=BRIEF, **changes))]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
