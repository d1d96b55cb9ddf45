"""Tests of `distill --seeds`: several trainings in one folder, and what is left of one stopped."""

import json
import shlex

import numpy as np
import pytest
import yaml

from asterism.cli import main
from asterism.engine.recording import Recording

TRAINING = "--data rows.npz --epochs 2 --batch-size 32 --checkpoint-steps 1 --no-check"
TRAINING += " --timed-batches 3,7"
DISTILL = f"distill --teacher t --student mlp?hidden=4 --with-baselines {TRAINING}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data, a teacher, and two trainings that nobody stopped."""
    folder = tmp_path_factory.mktemp("seeds")
    draw = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = draw.normal(size=(90, 6)) + 2 * draw.normal(size=(3, 6))[y]
    np.savez(folder / "rows.npz", x=x.astype(np.float32), y=y)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(shlex.split(f"train --model mlp?hidden=8 --out t {TRAINING}")) == 0
        assert main(shlex.split(f"{DISTILL} --seeds 2 --seed 5 --out whole --no-report")) == 0
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def stop(monkeypatch, *, runs, steps):
    """Let Ctrl-C be typed after so many trainings and steps of the next."""
    step, begun = Recording.step, []

    def or_stop(self, moment, *arguments, **options):
        begun.extend([self] if moment.step <= 1 else [])
        if len(begun) > runs and moment.step >= steps:
            raise KeyboardInterrupt
        step(self, moment, *arguments, **options)

    monkeypatch.setattr(Recording, "step", or_stop)


# Each seed is two trainings: the student without the teacher, then the student. The second is
# stopped on its way, the third as it begins.
@pytest.mark.parametrize(("runs", "steps"), [pytest.param(1, 2, marks=pytest.mark.slow), (2, 1)])
def test_stopped_anywhere_it_goes_on_to_the_same_students(runs, steps, here, monkeypatch, capsys):
    cut = f"cut-{runs}"
    with monkeypatch.context() as patch:
        stop(patch, runs=runs, steps=steps)
        assert main(shlex.split(f"{DISTILL} --seeds 2 --seed 5 --out {cut}")) == 130
    command = capsys.readouterr().err.splitlines()[-1].partition(": asterism ")[2]
    assert (here / cut / "seed-5/result.json").exists() == (runs == 2)
    assert main(shlex.split(command)) == 0
    assert f"All seeds on one page: {cut}/report.html" in capsys.readouterr().out
    students = {}
    for name in ("seed-5", "seed-5-without-teacher", "seed-6", "seed-6-without-teacher"):
        ends = [(here / x / name / "student.safetensors").read_bytes() for x in ("whole", cut)]
        assert ends[0] == ends[1], name
        students[name] = ends[0]
    assert len({*students.values()}) == 4
    config = yaml.safe_load((here / cut / "seed-6/config.yaml").read_text())
    assert (config["seed"], config["baseline"]) == (6, f"{cut}/seed-6-without-teacher")
    assert "2 trainings like seed-5, seeds 5, 6" in (here / cut / "report.html").read_text()


def test_times_are_taken_of_the_batches_that_were_asked_for(here):
    for run in ("t", "whole/seed-5"):
        result = json.loads((here / run / "result.json").read_text())
        timed = {m["k"]: m for m in result["measures"] if m["name"] == "latency"}
        assert set(timed) == {1, 3, 7, 64}
        assert "of 20 passes, warmed up, on" in timed[7]["note"]
        assert ("of the teacher's" in timed[7]["note"]) == (run != "t")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--seeds 2 --out t", "t holds a single run: with seeds=2 name another folder"),
        ("--seeds 2 --resume", "name the folder (--out) that holds, or is to hold, the runs"),
        ("--out u --timed-batches 0", "timed_batches must be at least 1"),
        ("--seeds 0 --out s", "seeds must be at least 1"),
        ("--out s --resume", "s holds seed-0, which is no part of a run"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, said, here, capsys):
    (here / "s/seed-0").mkdir(parents=True, exist_ok=True)
    assert main(shlex.split(f"{DISTILL} {words}")) == 2
    assert said in capsys.readouterr().err
