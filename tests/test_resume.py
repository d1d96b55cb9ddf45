"""Tests of what comes after a run has ended, or was ended."""

import shutil
import signal
import subprocess
import sys
import time

import pytest

from asterism import recipe
from asterism.cli import main

OPTIONS = {"epochs": 1, "batch_size": 64, "lr": 0.05}
COMMAND = ["train", "--model", "mlp", "--data", "digits", "--batch-size", "64", "--lr", "0.05"]


def test_a_finished_run_is_not_run_again(tmp_path, capsys):
    first = recipe.train("mlp", "digits", out=tmp_path / "a", **OPTIONS)
    before = {p: p.stat().st_mtime_ns for p in first.run.iterdir() if p.name != ".lock"}
    again = recipe.train("mlp", "digits", out=tmp_path / "a", resume=True, **OPTIONS)
    assert (again.accuracy, again.recall_at_1) == (first.accuracy, first.recall_at_1)
    for name, value in first.student.state_dict().items():
        assert value.equal(again.student.state_dict()[name]), name
    capsys.readouterr()
    resumed = ["--epochs", "1", "--out", str(tmp_path / "a"), "--resume"]
    assert main([*COMMAND, *resumed]) == 0
    said = capsys.readouterr()
    assert "is finished; this is its result" in said.err
    assert f"{100 * first.accuracy:.1f}" in said.out
    assert {p: p.stat().st_mtime_ns for p in first.run.iterdir() if p.name != ".lock"} == before


def test_resuming_nothing_in_particular_is_refused():
    with pytest.raises(
        ValueError, match=r"name the run folder \(--out\): --resume needs to know which run"
    ):
        recipe.train("mlp", "digits", resume=True, **OPTIONS)


@pytest.mark.parametrize("name", ["best.ckpt", "step-00000018.ckpt"])
def test_a_checkpoint_of_another_training_is_not_read(name, tmp_path):
    """The same model, data and settings but another seed: what fits must not be taken."""
    run, other = tmp_path / "a", tmp_path / "b"
    for out, seed in ((run, 0), (other, 1)):
        recipe.train("mlp", "digits", out=out, seed=seed, **OPTIONS)
    states = sorted(p.name for p in (run / "checkpoints").iterdir())
    (run / "result.json").unlink()
    own = (run / "checkpoints" / name).read_bytes()
    (run / "checkpoints" / name).unlink()  # the best one may be a link to the last
    shutil.copy(other / "checkpoints" / name, run / "checkpoints" / name)
    with pytest.raises(ValueError, match=f"{name} was written by another training than that of"):
        recipe.train("mlp", "digits", out=run, resume=True, **OPTIONS)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == states
    (run / "checkpoints" / name).write_bytes(own)
    assert recipe.train("mlp", "digits", out=run, resume=True, **OPTIONS).run == run


def test_ctrl_c_says_how_to_go_on_and_that_works(tmp_path):
    out = tmp_path / "a"
    command = [sys.executable, "-m", "asterism", *COMMAND, "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--epochs", "40"],
        stderr=subprocess.PIPE,
        text=True,
        # What runs in a shell's background, as these tests may, hears no Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not (out / "checkpoints" / "best.ckpt").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130, said
    *_, last = said.strip().split("\n")
    assert last == f"asterism: interrupted. Go on with: asterism train --out {out} --resume"
    assert "Traceback" not in said
    assert main([*COMMAND, "--epochs", "40", "--out", str(out), "--resume"]) == 0
