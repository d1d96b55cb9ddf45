"""Command lines changed at random: what was asked for or a sentence, never a traceback or a wait.

The quick part tries some; `-m slow` tries a thousand.
"""

import os
import random
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from asterism.cli import VERBS, main

QUICK, SLOW, PARTS = 15, 1_000, 5
BRIEF = "--data d.npz --epochs 1 --limit-steps 1 --batch-size 32 --no-check"
LINES = (
    f"train --model mlp --out new --optimizer sgd --lr 0.1 {BRIEF}",
    f"train --model mlp?width=8 --out r --overwrite --seed 3 --image-size 6 {BRIEF}",
    f"train --model mlp --out r --resume {BRIEF}",
    f"distill --teacher t --student mlp --out new --method RKD --method.angle_weight 2 {BRIEF}",
    f"distill --teacher t --student mlp --out new --method+ RKD --method+ KD {BRIEF}",
    f"distill --teacher c --student r --out new --task-weight 0.5 --labels false {BRIEF}",
    f"distill --teacher t --student mlp --out new --validation-share 0.2 --seeds 2 {BRIEF}",
    f"distill --teacher t --student mlp --out new --precision 32 --schedule cosine {BRIEF}",
    "distill --out r --resume",
    "train --config options.yaml --out new --no-check",
    f"doctor --teacher t --student mlp --format json {BRIEF[:-11]}",
    "evaluate r --data d.npz --out found --format json",
    "evaluate r",
    "report r t --out page.html",
    "report r --require accuracy>=0.5*teacher --junit gate.xml",
    "compare r t --format markdown",
    "align r --to t",
    "export r --to state pt2 --out shipped --overwrite",
    "cache --teacher t --data d.npz --out c2 --views 1 --view-seed 3",
    "embed r --data d.npz --out vectors.npy --dtype float16 --part 1/2",
    "bench grid.yaml --table-only",
    "list RKD resnet20",
    "list",
    "help distill",
    "demo --out new",
)
# What is typed in place of something, or beside it.
WORDS = (
    "", " ", "-", "--", "---", "=", "?", "??", "a=b", "?a", "\x1b[31mred\x1b[0m", "\u202egnp",
    "é", "\udcff", "[/b][bold]", "[", "{}", "[1,2", "null", "None", "true", "nan", "inf", "-inf",
    "1e999", "-1", "0", "1.5", "1e3", "0x10", "9" * 400, "x" * 5_000, "~nobody/x", "~",
    "s3://bucket/x", "http://x/y", "$HOME/x", "../../../etc/passwd", "/dev/null/x", "pipe",
    "folder", ".", "nowhere", "payload.py", "payload.py:make", "payload.py:nothing", "payload.M",
    "os:mkdir", "d.npz", "d.npz?x=y", "d.npz?kind=array", "t", "r", "c", "grid.yaml",
    "options.yaml", "t/student.safetensors", "mlp?width=0", "mlp?width=99999999999",
    "mlp?hidden=a", "resnet20", "resnet20?weights=nowhere", "timm/x", "hf/x", "st/x", "hf/t",
    "digits", "RKD", "KD", "VRM", "CRD", "--help", "--config", "--method", "--resume",
    "--overwrite", "--seed", "--no-report", "--batch-size=0", "--lr=nan", "--lr=-1",
    "--workers=-1", "--devices=0", "--precision=16", "--log=x", "--padding=99", "--ema=1",
    "--milestones=[1", "--method.angle_weight=x", "--relation-batch=7", "--samples-per-class=5",
    "--epochs=0.5", "--image-size=0", "--validation-share=1", "--validation-data=d.npz",
    "--test-data=r", "--teacher-cache=t",
)  # fmt: skip
# Numbers of these would take hours, as asked for.
LONG = ("--epochs", "--limit-steps", "--batch-size", "--no-check", "demo")


@pytest.fixture(scope="module")
def folder(honest, tmp_path_factory):
    """The honest folder, with a pipe, an empty folder and what must stay as it is."""
    made = tmp_path_factory.mktemp("typed") / "honest"
    shutil.copytree(honest, made)
    os.mkfifo(made / "pipe")
    (made / "folder").mkdir()
    (made / "precious").write_text("years of work")
    return made


def changed(line, draw):
    """Return a command line as somebody in a hurry, or somebody else, may type it."""
    words = shlex.split(line)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        free = [i for i in range(len(words)) if not {words[i], *words[max(0, i - 1) : i]} & {*LONG}]
        i = draw.choice(free or [0])
        how = draw.choice("drop twice swap other other other beside beside letters letters".split())
        if how == "drop":
            del words[i]
        elif how == "twice":
            words.insert(i, words[i])
        elif how == "swap" and len(words) > 1:
            j = draw.choice(free or [0])
            words[i], words[j] = words[j], words[i]
        elif how == "other":
            words[i] = draw.choice([*WORDS, *VERBS])
        elif how == "beside":
            words.insert(i + 1, draw.choice(WORDS))
        else:
            letters = list(words[i])
            at = draw.randrange(len(letters) + 1)
            letters[at : at + draw.choice([0, 1])] = draw.choice(["", "a", "-", "_", "=", "?", "é"])
            words[i] = "".join(letters)
        if not words:
            return [""]
    return words


class TooLong(BaseException):
    """It waits for something."""


def late(number, frame):
    raise TooLong


def tried(folder, tmp_path, monkeypatch, capfd, seed):
    """Type something changed, and see that it ended well."""
    draw = random.Random(seed)
    here = tmp_path / str(seed)
    shutil.copytree(folder, here, copy_function=shutil.copy2, ignore=lambda *_: ["pipe"])
    os.mkfifo(here / "pipe")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    line = changed(draw.choice(LINES), draw)
    capfd.readouterr()
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(900)  # a machine may be busy
    try:
        code = main(line)
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException as error:
        raise AssertionError(f"seed {seed}: {line}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    said = capfd.readouterr()
    what = f"seed {seed}: {line}: {code}, {said.err[-400:]}"
    assert code in (0, 1, 2), what
    assert code != 2 or re.search(r"^asterism: .{20}", said.err, re.MULTILINE), what
    assert code != 1 or line[0] in ("doctor", "report"), what
    assert "Traceback" not in said.err, what
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said.out + said.err), what
    runs_it = any("payload.py:" in word for word in line)  # the user's own code, by name
    assert runs_it or not (here / "EXECUTED").exists(), what
    assert Path("precious").read_text() == "years of work", what
    shutil.rmtree(here)


def test_some_lines_end_with_what_was_asked_or_a_sentence(folder, tmp_path, monkeypatch, capfd):
    for seed in range(QUICK):
        tried(folder, tmp_path, monkeypatch, capfd, seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_thousand_lines(folder, tmp_path, monkeypatch, capfd, part):
    wrong = []
    for seed in range(QUICK + part, QUICK + SLOW, PARTS):
        try:
            tried(folder, tmp_path, monkeypatch, capfd, seed)
        except AssertionError as error:
            cause = error.__cause__
            wrong.append(f"{error}"[:700] + (f" ({cause!r:.300})" if cause else ""))
    assert not wrong, "\n".join(wrong)
