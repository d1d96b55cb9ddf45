"""A hash of the student's weights for small trainings of every kind: do two checkouts agree?

    python benchmarks/bits.py > before.txt      # in one checkout
    python benchmarks/bits.py > after.txt       # in the other, on the same machine
    diff before.txt after.txt

Every training is a command of its own, as a user types it, on one thread. The bits depend on the
processor and on torch, so nothing is kept here to compare with.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

VOCABULARY = (
    "red green blue tall short fast slow cat dog bird runs sleeps eats and with near".split()
)
TRAIN = "train --model convnet?width=8 --data digits --epochs 2 --lr 0.05 --out teacher"
DISTILL = "distill --teacher teacher --student convnet?width=4 --data digits --epochs 2 --lr 0.05"
TEXTS = "distill --teacher texts.npy --data texts.tsv --epochs 2 --batch-size 32"
RUNS = {
    "teacher": TRAIN,
    "rkd-kd": DISTILL,
    "rkd": f"{DISTILL} --method RKD --labels false",
    "rrd": f"{DISTILL} --method RRD --method.bank_size 256",
    "rrkd": f"{DISTILL} --method RRKD --method.anchors random --method.anchor_count 50",
    "vrm": f"{DISTILL} --method VRM",
    "crd": f"{DISTILL} --method CRD --method.negatives 64",
    "dist-views": f"{DISTILL} --method DIST --train-views real,virtual",
    "chunks": f"{DISTILL} --relation-batch 256 --batch-size 64",
    "by-class": f"{DISTILL} --samples-per-class 8 --batch-size 64",
    "ema-adamw": f"{DISTILL} --ema 0.9 --optimizer adamw --lr 0.003 --clip 1 --schedule cosine",
    "auto": f"{DISTILL} --loss-weights auto",
    "bf16": f"{DISTILL} --precision bf16",
    "two-devices": f"{DISTILL} --devices 2 --batch-size 64",
    "mlp": f"{DISTILL} --student mlp --keep last",
    "teacher-cache": f"{DISTILL} --teacher-cache caches --view-count 1",
    "from-cache": "distill --teacher cache --student convnet?width=4 --data digits --epochs 2",
    "static": f"{TEXTS} --student text-static?tokenizer=tokenizer.json --method RRKD",
    "transformer": f"{TEXTS} --student text-transformer?tokenizer=tokenizer.json&dropout=0.1",
}  # fmt: skip


def main() -> None:
    """Train, and print a line for each training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(RUNS), help="Names of trainings.")
    wanted = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_texts(place)
        for name in dict.fromkeys(["teacher", *wanted]):
            if name == "from-cache":
                run("cache --teacher teacher --data digits --out cache --views 2", place)
            words = RUNS[name] + ("" if name == "teacher" else f" --out {name} --no-report")
            run(words, place)
            weights = (place / name / "student.safetensors").read_bytes()
            print(f"{name:<14} {hashlib.sha256(weights).hexdigest()[:32]}", flush=True)


def run(words: str, place: Path) -> None:
    """Run one command; what it says is shown if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "asterism", *words.split()]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"asterism {words}\n{done.stderr}")


def write_texts(place: Path) -> None:
    """Write texts with classes, a tokeniser of their words, and vectors that know the words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    generator = np.random.default_rng(0)
    rows = [generator.choice(len(VOCABULARY), generator.integers(3, 9)) for _ in range(300)]
    lines = [f"{' '.join(VOCABULARY[i] for i in row)}\t{row[0] % 3}" for row in rows]
    (place / "texts.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    meaning = generator.normal(size=(len(VOCABULARY), 24)).astype(np.float32)
    np.save(place / "texts.npy", np.stack([meaning[row].mean(0) for row in rows]))
    known = {word: i for i, word in enumerate(["[UNK]", *VOCABULARY])}
    tokeniser = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokeniser.pre_tokenizer = pre_tokenizers.Whitespace()
    tokeniser.save(str(place / "tokenizer.json"))


if __name__ == "__main__":
    main()
