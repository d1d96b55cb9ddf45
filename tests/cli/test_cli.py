"""Tests for asterism/cli: what a user types, and what comes back."""

import io
import subprocess
import sys

import pytest
import torch
import yaml

from asterism import RKD, methods
from asterism.cli import main

QUICK = ["--limit-steps", "2", "--batch-size", "64"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "teacher"
    command = ["train", "--model", "convnet", "--data", "digits", "--out", str(out), *QUICK]
    assert main(command) == 0
    return str(out)


def distill(teacher, out, *options):
    basics = ["--teacher", teacher, "--student", "mlp", "--data", "digits", "--out", str(out)]
    return main(["distill", *basics, *QUICK, *options])


def test_distil_combine_and_evaluate(teacher, tmp_path, capsys):
    options = ["--method+", "RKD", "--method.distance_weight", "25", "--method+", "KD"]
    assert distill(teacher, tmp_path / "a", *options, "--task-weight", "0.5") == 0
    shown = capsys.readouterr().out
    assert "teacher" in shown
    assert "recall@1 %" in shown
    config = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert [m["class_path"] for m in config["method"]] == ["asterism.RKD", "asterism.KD"]
    assert config["method"][0]["init_args"] == RKD(distance_weight=25.0).config()
    assert config["task_weight"] == 0.5
    assert "report" not in config
    assert f"{tmp_path / 'a' / 'report.html'}" in shown.replace("\n", "")
    assert main(["evaluate", str(tmp_path / "a")]) == 0
    assert "500 test samples" in capsys.readouterr().out


def test_a_runs_config_runs_again(teacher, tmp_path):
    assert distill(teacher, tmp_path / "a", "--method", "RKD", "--seed", "3", "--no-report") == 0
    assert not (tmp_path / "a" / "report.html").exists()
    config = str(tmp_path / "a" / "config.yaml")
    assert main(["distill", "--config", config, "--out", str(tmp_path / "b")]) == 0
    one, two = ((tmp_path / x / "student.safetensors").read_bytes() for x in "ab")
    assert one == two
    assert main(["distill", "--config", config, "--resume"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--method RKDD", "unknown method 'RKDD': choose from"),
        ("--method+ RKD --method+ KX", "unknown method 'KX': choose from"),
        ("--method RKD --method.angel_weight 3", "--method.angel_weight is no option of this"),
        ("--method RKD --method.angle_weight x", "--method.angle-weight takes a number; got x"),
        ("--method KD --method.temperature 0", "asterism: KD needs a positive temperature; got 0"),
        (
            "--method+ VRM --method.keep_quantile 90 --method+ KD",
            "asterism: VRM needs at least 1 virtual view, a keep_quantile from 0 to 1",
        ),
        ("--epochs three", "--epochs takes a whole number; got three"),
        ("--epochs 0", "epochs must be at least 1; got 0"),
        ("--schedule foo", "--schedule takes one of one-cycle, cosine"),
        ("--labels maybe", "--labels takes true or false; got maybe"),
        ("--batchsize 3", "--batchsize is no option here (did you mean --batch-size?)"),
        ("--config nix.yaml", "--config nix.yaml: there is no such file"),
        ("--student resnet21", "unknown model 'resnet21'"),
        ("--teacher runs/nix", "unknown model 'runs/nix'"),
        ("--teacher resnet20", "the teacher resnet20 has no weights"),
        ("--data nix.npz", "no data at nix.npz"),
        ("--method DKD --labels false", "DKD needs labels, and --labels false leaves them out"),
        ("--method CRD --labels false", "CRD needs labels, and --labels false leaves them out"),
        (
            "--method RRKD --method.anchors per-class --labels false",
            "RRKD needs labels, and --labels false leaves them out",
        ),
        pytest.param(
            "--accelerator gpu",
            "accelerator gpu: torch finds none in this machine",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        ("--precision 16 --accelerator cpu", "precision 16 needs a GPU"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(teacher, tmp_path, capsys, options, message):
    assert distill(teacher, tmp_path / "a", *options.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("asterism: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_a_used_folder_is_refused(teacher, capsys):
    assert distill(teacher, teacher) == 2
    assert "holds a finished run: go on with --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["distil"], "unknown verb 'distil': choose from distill"),
        (["distill", "--student", "mlp"], "needs --teacher and --data"),
        (["evaluate"], "required: run"),
        (["evaluate", "nix"], "nix is no run folder: it has no config.yaml"),
        (["list", "x"], "takes no arguments; got x"),
    ],
)
def test_other_verbs_mistakes(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in [*methods.__all__, "resnet20", "digits", "file.py:factory"]:
        assert name in shown
    for name in methods.__all__:
        assert getattr(methods, name).paper in shown


def test_help_shows_options_with_dashes_and_every_method(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["distill", "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "--batch-size" in shown
    assert "--batch_size" not in shown
    for name in methods.__all__:
        method = getattr(methods, name)
        assert method.paper in shown
        assert ", ".join(method().config()) in shown
    with pytest.raises(SystemExit):
        main(["distill", "--method.help", "RKD"])
    assert "25 beside" in " ".join(capsys.readouterr().out.split())
    assert main([]) == 0
    assert "distill" in capsys.readouterr().out


def test_importing_asterism_loads_no_engine_and_no_command_line():
    code = "import sys, asterism; print({m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"lightning", "sklearn", "jsonargparse", "rich", "kornia"} & eval(done.stdout)


def test_a_name_that_the_screen_cannot_show_is_shown_otherwise(monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["list"]) == 0
    print("cl\udce9")
    screen.flush()
    assert screen.buffer.getvalue().endswith(b"cl\\udce9\n")
