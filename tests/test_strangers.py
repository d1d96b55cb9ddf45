"""Run folders, caches and settings changed at random: a sentence, never a traceback or silence.

The quick part tries some changes; `-m slow` tries hundreds.
"""

import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest
import yaml

from asterism.cli import main

QUICK, SLOW = 12, 300
HOSTILE = (
    None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), -(10**400), "", "x" * 5_000,
    "\x1b]0;title\x1b\\\u202eend[/b][bold]", "payload.py:make", "payload.M", "~nobody/x",
    "s3://bucket/x", "../../../etc/passwd", "/dev/zero", [], {}, [[]], {"": None}, [1, "a", None],
    {"class_path": "payload.M", "init_args": {}}, [{"class_path": "payload.M", "init_args": {}}],
)  # fmt: skip
RAW = (
    b"", b"{", b"[" * 50_000, b"\x00" * 64, b"\xff\xfe", b"a: &a [*a]", b"- 1", b"NaN", b"1e999",
    b"a: !!python/object/apply:os.mkdir [EXECUTED]", b"\x1b[31m", b"a: 1\na: 2\n",
    "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]\n" for i in range(9))
    .encode(),
)  # fmt: skip


def commands(target):
    """What a user may do with a folder that somebody sent."""
    brief = "--data d.npz --epochs 1 --limit-steps 1 --batch-size 32 --no-check".split()
    student = ["--student", "mlp", "--out", "new", "--no-report", *brief]
    return {
        "r": [
            ["compare", "r", "t"],
            ["report", "r"],
            ["evaluate", "r"],
            ["align", "r"],
            ["distill", "--teacher", "t", "--student", "mlp", "--out", "r", "--resume", *brief],
            ["train", "--model", "r", "--out", "new", *brief],
        ],
        "t": [["distill", "--teacher", "t", *student], ["compare", "t", "r"]],
        "grid": [["bench", "grid.yaml", "--table-only"]],
        "c": [
            ["distill", "--teacher", "c", *student],
            ["cache", "--teacher", "t", "--data", "d.npz", "--out", "c", "--views", "1"],
        ],
        "i": [
            ["search", "i", "--row", "0", "119", "--out", "found.html"],
            ["search", "i", "--student", "r", "--aligned", "--measure"],
            ["search", "i", "--measure"],
        ],
        "grid.yaml": [["bench", "grid.yaml", "--table-only"]],
        "options.yaml": [["train", "--config", "options.yaml", "--out", "new", "--no-check"]],
    }[target]


def files_of(target):
    """The files that a stranger may have changed, small ones and those with words more often."""
    if target.is_file():
        return [target]
    found = sorted(p for p in target.rglob("*") if p.is_file() and not p.name.startswith("."))
    return [p for p in found for _ in range(4 if p.suffix in (".json", ".yaml", ".jsonl") else 1)]


def changed_inside(value, draw):
    """A JSON value with one of its values, at any depth, changed, gone or new."""
    places = [(None, None, value)]
    for _, _, each in places:
        if isinstance(each, dict):
            places += [(each, key, inner) for key, inner in each.items()]
        if isinstance(each, list):
            places += [(each, i, inner) for i, inner in enumerate(each)]
    holder, key, _ = draw.choice(places)
    if holder is None:
        return draw.choice(HOSTILE)
    if draw.random() < 0.2:
        del holder[key]
    else:
        holder[key] = draw.choice(HOSTILE)
    return value


def change(file, draw):
    """Change a file as a stranger, or a broken disk, might; return how."""
    content = file.read_bytes()
    words = file.suffix in (".json", ".yaml", ".jsonl")
    how = draw.choice(
        ["inside"] * 6 * words + ["raw", "cut", "flipped", "gone", "folder", "link", "pipe"]
    )
    if how == "inside":
        text = content.decode()
        if file.suffix == ".jsonl":
            lines = text.splitlines()
            i = draw.randrange(len(lines))
            lines[i] = json.dumps(changed_inside(json.loads(lines[i]), draw))
            file.write_text("\n".join(lines) + "\n")
        elif file.suffix == ".json":
            file.write_text(json.dumps(changed_inside(json.loads(text), draw)))
        else:
            file.write_text(yaml.safe_dump(changed_inside(yaml.safe_load(text), draw)))
    elif how == "raw":
        file.write_bytes(draw.choice(RAW) + draw.choice([b"", b"\n" + content]))
    elif how == "cut":
        file.write_bytes(content[: draw.randrange(len(content) + 1)])
    elif how == "flipped":
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 1, 20])):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
    else:
        file.unlink()
        if how == "folder":
            file.mkdir()
        elif how == "pipe":
            os.mkfifo(file)
        elif how == "link":
            file.symlink_to(draw.choice(["precious", "/dev/zero", "nowhere", file.name]))
    return how


def tried(honest, tmp_path, monkeypatch, capsys, seed):
    """Change one file, do one thing, and see that it ended well."""
    draw = random.Random(seed)
    here = tmp_path / str(seed)
    shutil.copytree(honest, here, symlinks=True)
    monkeypatch.chdir(here)
    often = ["r"] * 8 + ["t"] * 3 + ["c"] * 4 + ["i"] * 4
    target = draw.choice([*often, "grid", "grid.yaml", "options.yaml"])
    file = draw.choice(files_of(Path(target)))
    (file.parent / "precious").write_text("years of work")
    precious = shutil.move(file.parent / "precious", here / "precious")
    how = change(file, draw)
    if how == "link" and os.readlink(file) == "precious":
        file.unlink()
        file.symlink_to(precious)
    command = draw.choice(commands(target))
    capsys.readouterr()
    what = f"seed {seed}: {file} {how}, {' '.join(command)}"
    try:
        code = main(command)
    except BaseException as error:
        raise AssertionError(what) from error
    said = capsys.readouterr()
    assert code in (0, 2), what
    assert code == 0 or re.search(r"^asterism: .{20}", said.err, re.MULTILINE), what
    assert code == 0 or "Traceback" not in said.err, what
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said.out + said.err), what
    assert not (here / "EXECUTED").exists(), what
    assert Path(precious).read_text() == "years of work", what
    shutil.rmtree(here)


def test_some_changes_are_met_with_a_sentence(honest, tmp_path, monkeypatch, capsys):
    for seed in range(QUICK):
        tried(honest, tmp_path, monkeypatch, capsys, seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_hundreds_of_changes_are_met_with_a_sentence(honest, tmp_path, monkeypatch, capsys):
    wrong = []
    for seed in range(QUICK, QUICK + SLOW):
        try:
            tried(honest, tmp_path, monkeypatch, capsys, seed)
        except AssertionError as error:
            cause = error.__cause__
            wrong.append(f"{error}".splitlines()[0] + (f" ({cause!r:.300})" if cause else ""))
    assert not wrong, "\n".join(wrong)
