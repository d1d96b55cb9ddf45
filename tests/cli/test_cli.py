"""Tests for asterism/cli: what a user types, and what comes back."""

import io
import re
import subprocess
import sys
from typing import get_args

import pytest
import torch
import yaml

from asterism import RKD, methods
from asterism.cli import GROUPS, VERBS, main
from asterism.models import BUILT_IN, arguments_of
from asterism.options import Verb, options_of
from asterism.request import Request, typed_name
from asterism.settings import Settings

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
        ("--config nix.yaml", "--config: there is nothing at nix.yaml"),
        ("--student resnet21", "unknown model 'resnet21'"),
        ("--teacher runs/nix", "there is nothing at runs"),
        ("--teacher resnet20", "the teacher resnet20 has no weights"),
        ("--data nix.npz", "there is nothing at nix.npz"),
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
        (["distil"], "unknown verb 'distil' (did you mean distill?): choose from"),
        (["distill", "--student", "mlp"], "needs --teacher and --data"),
        (["evaluate"], "needs RUN"),
        (["evaluate", "nix"], "there is nothing at nix: name a run folder"),
        (["list", "x"], "nothing is called 'x'"),
        (["demo", "x"], "'x' follows no option's name"),
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


def helped(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main([*words])
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_is_short_and_in_groups(verb, capsys):
    if verb == "help":
        assert main(["help", "help", "distill"]) == 0
        assert "usage: asterism VERB" in capsys.readouterr().out
        return
    short = helped(capsys, verb, "--help")
    assert short.startswith(f"usage: asterism {verb}")
    assert helped(capsys, "help", verb) == short
    assert VERBS[verb] in " ".join(short.split())
    assert not re.search(r"--\w+_|None|jsonargparse|null", short)
    assert len(re.findall("^  --", short, re.MULTILINE)) <= 18
    full = helped(capsys, verb, "--help", "all")
    shown = set(re.findall(r"^  --(?:no-)?([\w-]+)", full, re.MULTILINE))
    if verb in get_args(Verb):
        assert "run folder\n" in short
        known = {typed_name(each.name, verb) for each in options_of(Request, Settings, verb=verb)}
        more = {"config", "format"} if verb == "doctor" else {"config"}
        assert shown == {name.replace("_", "-") for name in known} | more
        assert len(full) > len(short)


def test_the_overview_shows_every_verb_in_a_group(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert [group for group in GROUPS if f"\n\n{group}\n" in shown] == list(GROUPS)
    for verb, what in VERBS.items():
        assert f"  {verb:<12}{what}\n" in shown
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == shown


def test_list_shows_what_a_name_takes(capsys):
    for name in methods.__all__:
        assert main(["list", name]) == 0
        shown = capsys.readouterr().out
        method = getattr(methods, name)
        assert method.paper in shown
        assert all(f"--method.{key} " in shown for key in method().config())
    one_of_each = {getattr(make, "func", make): name for name, make in BUILT_IN.items()}
    for name in one_of_each.values():
        assert main(["list", name]) == 0
        shown = capsys.readouterr().out
        assert all(f"  {key}=" in shown for key in [*arguments_of(name), "weights"])
        # None is a name with its default alone.
        assert not re.search(r"^  \w+=\S+ *(\(default .*\))?\n(?! {20})", shown, re.MULTILINE), name
    assert main(["list", "models"]) == 0
    assert "convnet" in (shown := capsys.readouterr().out)
    assert "digits" not in shown
    assert main(["list", "resnet20?weights=x", "timm"]) == 0
    assert "272,474 parameters" in (shown := capsys.readouterr().out)
    assert "`image_size`" in shown


# What a newcomer mistypes, and the nearest name of the kind that was meant.
MEANT = {
    "list resnet2O": "did you mean resnet20?",
    "list RKDD": "did you mean RKD?",
    "list tripplet": "did you mean triplet?",
    "train --model mlp --data digits --loss tripplet": "(did you mean triplet?)",
    "train --model mlp --data digits --loss triplet?margin=x": "triplet?margin takes a number",
    "RKD": "(a method: `asterism list RKD`)",
    "resnet20": "(a model: `asterism list resnet20`)",
    "help trian": "unknown verb 'trian' (did you mean train?)",
    "train --model mlp --data digit": "unknown data 'digit' (did you mean digits?)",
    "train --model mlp --data digits?x=1": "digits takes no argument 'x': it takes none",
    "train --model convnat --data digits": "unknown model 'convnat' (did you mean convnet?)",
    "train --model convnet?widht=8 --data digits": "'widht' (did you mean width?)",
    "train --model convnet?width=x --data digits": "convnet?width takes a whole number; got 'x'",
    "train --model convnet?width=-1 --data digits": "convnet?width must be at least 1; got -1",
    "train --model convnet?width=9999999999999 --data digits": "=9999999999999 cannot be built",
    "train --model tim/resnet18 --data digits": "no library 'tim' (did you mean timm/…?)",
    "train --model ./mlp --data digits": "there is nothing at mlp",
    "train --model mlp --data here/tabel.csv?text=a": "at here/tabel.csv (did you mean here/table",
    "train --model mlp --data hree/table.csv": "there is nothing at hree (did you mean here?)",
    "train --model mlp --data here/table.csv?txt=a": "'txt' (did you mean text?)",
    "train --model mlp --data here/table.csv?text=setence": "'setence' (did you mean sentence?)",
    "train --model mlp --data digits --epoch 3": "--epoch is no option here (did you mean --epochs",
    "train --model mlp --data digits -epochs 3": "(did you mean --epochs?)",
    "train --model mlp --data digits epochs=3": "(did you mean --epochs 3?)",
    "train --model mlp --data digits –epochs 3": "(did you mean --epochs?)",
    "train --model mlp --data digits --schedule cosin": "got cosin (did you mean cosine?)",
    "train --model mlp --data digits --method RKD": "an option of `asterism distill`, not of",
    "train --model mlp --data digits --loss-weights auto": "means nothing to `asterism train`",
    "train mlp --data digits": "'mlp' follows no option's name",
    "train --student mlp --data digits": "--student is an option of `asterism distill`",
    "distill --method RKD --method.angel_weight 1": "(did you mean --method.angle_weight?)",
    "distill --method rdk": "unknown method 'rdk': choose from",
    "train --out here/nix --resume": "There is no run to go on with: there is nothing at here/nix",
    "train --model --data digits": "--model needs a value: `asterism train --help`",
    "train --model mlp --data=": "--data has an empty value",
    "train --model mlp --data digits --milestones 3,x": "--milestones takes a whole number; got x",
    "train --model mlp --data digits --log tensorbord": "wandb, mlflow; got tensorbord",
    "train --model mlp --data digits --channels-last": "--channels-last needs a value",
    "train --model mlp --data digits --resume --overwrite --out o": "leave one out",
    "train --model timm/ --data digits": "timm/ names no model: write timm/NAME",
    "train --model mlp?weights=here/run --data digits": "here/run",
    "train --model mlp --data digits --out here/table.csv": "here/table.csv",
    "train --config here/table.csv": "got here/table.csv: it holds no names with values",
    "train --config here": "got here: it is a folder, and a file is needed",
    "train --config here/options.yaml": "--epoch is no option here (did you mean --epochs?)",
    "distill --check false": "'false' follows a switch, which takes no value",
    "distill --method.angle_weight 3": "name the method before its options",
    "distill --method RKD --angle-weight 3": "(did you mean --method.angle_weight?)",
    "distill --method.help RKDD": "(did you mean RKD?)",
    "evaluate": "asterism evaluate needs RUN",
    "embed": "asterism embed needs RUN, --data and --out",
    "distill": "asterism distill needs --teacher, --student and --data",
    "evaluate here/table.csv": "here/table.csv is a file: name a run folder",
    "--verbose train": "a verb comes first, asterism VERB --verbose",
    "evaluate here/runn": "there is nothing at here/runn (did you mean here/run?)",
    "report here/runn": "here/run?): name a run folder",
}


@pytest.mark.parametrize("typed", MEANT)
def test_a_typo_is_told_the_nearest_name_of_its_kind(typed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here/run").mkdir(parents=True)
    (tmp_path / "here/options.yaml").write_text("epoch: 3\n")
    (tmp_path / "here/table.csv").write_text("sentence,label\na,b\n")
    assert main(typed.split()) == 2
    error = capsys.readouterr().err
    assert MEANT[typed] in error
    assert error.count("\n") == 1


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
