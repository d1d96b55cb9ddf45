"""Processes killed (SIGKILL) at any moment: what they had begun is gone on with, to the bit."""

import hashlib
import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
import yaml
from words import WORDS

from asterism.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

# Processes begin as copies of one that has loaded these and done nothing yet.
CLEAN = multiprocessing.get_context("forkserver")
CLEAN.set_forkserver_preload(
    ["asterism.cli.distill", "asterism.recipe", "asterism.cli.bench", "asterism.exporters",
     "asterism.vectors", "scipy.stats", "sklearn.linear_model"]
)  # fmt: skip

ARRAYS = "--data d.npz --epochs 3 --batch-size 32 --lr 0.05 --no-check --checkpoint-steps 2"
TEXTS = "--data d.csv --epochs 2 --batch-size 32 --no-check --checkpoint-steps 2"

# What is done, what is killed, what makes it whole again (one of these), and what is compared.
SCENES = {
    "cache": ((), "cache --teacher t --data d.npz --out c --views 2", ("",), "c/**/*.safetensors"),
    "vectors": ((), "embed t --data d.npz --out v.npy", ("",), "v.npy"),
    "export": ((), "export t --to state --out x", ("", "--overwrite"), "x/state/model.safetensors"),
    "align": (
        (f"distill --teacher t --student mlp --out r {ARRAYS}",),
        "align r",
        ("",),
        "r/aligner.safetensors",
    ),
    "page": (
        (f"distill --teacher t --student mlp --out r {ARRAYS}",),
        "report r",
        ("",),
        "r/student.safetensors",
    ),
    "resume": ((), "train --model mlp --out r " + ARRAYS, ("--resume",), "r/student.safetensors"),
    "overwrite": (
        (f"train --model mlp --seed 7 --out r {ARRAYS}",),
        f"train --model mlp --out r --overwrite {ARRAYS}",
        ("--resume", "--overwrite"),
        "r/student.safetensors",
    ),
    "distill": (
        (),
        f"distill --teacher t --student mlp --out r {ARRAYS}",
        ("--resume", "--overwrite"),
        "r/student.safetensors",
    ),
    "texts": (
        (),
        f"distill --teacher text --student text-static?width=16 --out r {TEXTS}",
        ("--resume", "--overwrite"),
        "r/student.safetensors",
    ),
    "baselines": (
        (),
        f"distill --teacher t --student mlp --with-baselines --out r {ARRAYS}",
        ("--resume",),
        "r*/student.safetensors",
    ),
    "bench": ((), "bench grid.yaml", ("",), "grid/*/student.safetensors"),
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory, tokenizer):
    """Data of two kinds, a teacher of each, and a grid."""
    folder = tmp_path_factory.mktemp("home")
    draw = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = np.clip(draw.normal(128, 20, (240, 6, 6)) + 30 * y[:, None, None], 0, 255).astype(np.uint8)
    np.savez(folder / "d.npz", x=x, y=y)
    words = [
        " ".join(draw.choice(WORDS[3 + 5 * (i % 2) : 13 + 5 * (i % 2)], 6)) for i in range(240)
    ]
    rows = "".join(f"{words[i]},{i % 2}\n" for i in range(240))
    (folder / "d.csv").write_text(f"text,label\n{rows}")
    (folder / "tokenizer.json").write_text(tokenizer)
    common = {"data": "d.npz", "epochs": 2, "batch_size": 32}
    grid = {
        "out": "grid", "common": common, "pairs": {"p": {"teacher": "t", "student": "mlp"}},
        "methods": {"rkd": {"method": "RKD"}, "kd": {"method": "KD"}},
    }  # fmt: skip
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    text = f"text-transformer?width=16&tokenizer={folder}"
    assert done("train --model mlp --out t " + ARRAYS, folder) == 0
    assert done(f"train --model {text} --out text {TEXTS}", folder) == 0
    return folder


def does(command, folder):
    """Do something, as a process."""
    os.chdir(folder)
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    raise SystemExit(main(command.split()))


def done(command, folder, seconds=None):
    """Do something in a process, and kill that after some time; return how it ended."""
    process = CLEAN.Process(target=does, args=(command, folder))
    process.start()
    process.join(1800 if seconds is None else seconds)
    process.kill()
    process.join()
    said = folder / "said.txt"
    assert not said.exists() or "Traceback" not in said.read_text(), said.read_text()
    return process.exitcode


def made(folder, pattern):
    """Return what was made, by name."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.glob(pattern)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


class Scene:
    """One thing to do: how long it takes and what comes of it undisturbed."""

    def __init__(self, name, home, folder):
        self.before, self.command, self.again, self.compared = SCENES[name]
        self.home = home
        self.begun(folder / "whole")
        at = time.monotonic()
        assert done(self.command, folder / "whole") == 0
        self.seconds = time.monotonic() - at
        self.whole = made(folder / "whole", self.compared)
        assert self.whole

    def begun(self, folder):
        """Make a folder in which it can be done."""
        folder.mkdir()
        for file in self.home.iterdir():
            (folder / file.name).symlink_to(file)
        (folder / "said.txt").unlink(missing_ok=True)
        for command in self.before:
            assert done(command, folder) == 0

    def killed(self, folder, draw):
        """Kill it up to three times, at any moment, and see what comes of it then."""
        self.begun(folder)
        command, kills = self.command, 0
        for _ in range(draw.choice([1, 1, 2, 3])):
            kills += done(command, folder, draw.uniform(0, self.seconds)) == -signal.SIGKILL
            for run in ("r", "t"):
                assert done(f"compare {run}", folder) in (0, 2)
            command = f"{self.command.replace(' --overwrite', '')} {draw.choice(self.again)}"
        ended, said = done(command, folder), (folder / "said.txt").read_text()
        # Vectors and exports that are whole are not written again.
        whole = any(words in said for words in ("is there: delete it", "holds an export"))
        assert ended == 0 or (ended == 2 and whole), (command, said)
        assert made(folder, self.compared) == self.whole
        left = [p.name for p in folder.glob("r/.*")] + [p.name for p in folder.glob(".*")]
        assert set(left) <= {".lock"}
        return kills


def test_what_is_killed_is_made_whole_again(home, tmp_path):
    draw = random.Random(int(os.environ.get("SEED", 0)))
    wanted, kills, scenes = int(os.environ.get("KILLS", 60)), 0, {}
    for number in range(10 * wanted):
        name = list(SCENES)[number % len(SCENES)]
        if name not in scenes:
            (tmp_path / name).mkdir()
            scenes[name] = Scene(name, home, tmp_path / name)
        kills += scenes[name].killed(tmp_path / name / str(number), draw)
        print(f"{kills} kills, {name} is whole", flush=True)
        if kills >= wanted:
            return
    raise AssertionError(f"only {kills} of {wanted} came in time")
