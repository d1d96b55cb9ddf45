"""Tests for asterism/cli/resumption.py: a training that is stopped goes on as it is told."""

import shlex

import pytest
import yaml

from asterism.cli import main
from asterism.engine.recording import Recording

TRAIN = "train --model mlp?hidden=16 --data digits --epochs 2 --batch-size 512 --checkpoint-steps 1"


def stopped(monkeypatch, capsys, command, at=3):
    """Type a command, and Ctrl-C after some steps; return what is said of going on."""
    step = Recording.step
    with monkeypatch.context() as patch:

        def or_stop(self, moment, *arguments, **options):
            if moment.step >= at:
                raise KeyboardInterrupt
            step(self, moment, *arguments, **options)

        patch.setattr(Recording, "step", or_stop)
        assert main(shlex.split(command)) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("asterism: interrupted. ")
    return said.partition(": asterism ")[2]


def test_what_ctrl_c_says_is_a_command_that_goes_on(tmp_path, monkeypatch, capsys):
    """To the bits of a run that was never stopped; the folder is named by time, with a space."""
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(f"{TRAIN} --out whole")) == 0
    command = stopped(monkeypatch, capsys, f"{TRAIN} --out 'a run' --seed 0")
    assert command == "train --out 'a run' --resume"
    assert main(shlex.split(command)) == 0
    ends = [(tmp_path / x / "student.safetensors").read_bytes() for x in ("whole", "a run")]
    assert ends[0] == ends[1]
    assert main(shlex.split(command)) == 0
    assert "is finished; this is its result" in capsys.readouterr().err
    assert stopped(monkeypatch, capsys, TRAIN).startswith("train --out runs/")
    assert stopped(monkeypatch, capsys, f"{TRAIN} --out whole --overwrite") == (
        "train --out whole --resume"
    )


def test_resumption_takes_what_is_typed_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stopped(monkeypatch, capsys, f"{TRAIN} --out a")
    assert main(shlex.split("train --out a --resume --seed 3")) == 2
    assert "was begun with seed 0; resuming with 3" in capsys.readouterr().err
    assert main(shlex.split("distill --out a --resume")) == 2
    assert "asterism train --out a --resume" in capsys.readouterr().err
    assert main(shlex.split("train --out a --resume --log-every 1")) == 0
    assert yaml.safe_load((tmp_path / "a/config.yaml").read_text())["log_every"] == 1


def test_a_baseline_that_is_stopped_goes_on_with_the_whole_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    teacher = "train --model mlp --data digits --limit-steps 1 --out t"
    assert main(shlex.split(teacher)) == 0
    distill = TRAIN.replace("train --model", "distill --with-baselines --teacher t --student")
    command = stopped(monkeypatch, capsys, f"{distill} --out s")
    assert shlex.split(command) == shlex.split(f"{distill} --out s")
    command = stopped(monkeypatch, capsys, distill)
    assert shlex.split(command)[:-1] == shlex.split(f"{distill} --out")


@pytest.mark.parametrize(
    ("option", "value", "way_out"),
    [
        ("model", "trap.py:make", "name it again, --model trap.py:make"),
        ("model", "python:trap.make", "go on there, with resume=True"),
        ("data", "python:trap.Data", "go on there, with resume=True"),
    ],
)
def test_nothing_that_a_run_names_is_imported(
    option, value, way_out, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.py").write_text("open('sprung', 'w')\ndef make(): pass")
    stopped(monkeypatch, capsys, f"{TRAIN} --out a")
    config = yaml.safe_load((tmp_path / "a/config.yaml").read_text())
    (tmp_path / "a/config.yaml").write_text(yaml.safe_dump({**config, option: value}))
    assert main(shlex.split("train --out a --resume")) == 2
    error = capsys.readouterr().err
    assert way_out in error
    assert error.count("\n") == 1
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("path", ["trap.Method", "os.system", "asterism.run.Run"])
def test_no_method_that_a_run_names_is_imported(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.py").write_text("open('sprung', 'w')")
    (tmp_path / "a").mkdir()
    config = {"teacher": "t", "student": "mlp", "data": "digits", "method": [{"class_path": path}]}
    (tmp_path / "a/config.yaml").write_text(yaml.safe_dump(config))
    assert main(shlex.split("distill --out a --resume")) == 2
    assert f"begun with method {path}, which is your own code" in capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()


def test_own_code_is_named_again_in_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "from torch import nn\ndef make(classes):\n    layers = nn.Flatten(), nn.Linear(64, "
    (tmp_path / "own.py").write_text(f"{code}classes)\n    return nn.Sequential(*layers)\n")
    typed = TRAIN.replace("mlp?hidden=16", "own.py:make")
    command = stopped(monkeypatch, capsys, f"{typed} --out a --overwrite")
    assert shlex.split(command) == shlex.split(f"{typed} --out a --resume")
    assert main(shlex.split(command)) == 0
