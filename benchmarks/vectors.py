"""Vectors of many rows: memory, a kill and a restart, and an index of them (docs/search.md).

    python benchmarks/vectors.py OUT [--rows 1000000] [--texts 100000] [--width 64]

In OUT it makes a file of random arrays and one of random texts, and a student for each that was
trained for a step. The arrays are embedded twice, once in one go and once killed (by a signal that
no program can answer) when a third of the parts are there, and then by the same command; the bytes
are compared. Then an index is made of the vectors (extra `search`). What is printed is a table:
seconds, rows a second, and the largest resident memory of the process.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

PART_ROWS = 16_384
WORDS = 5_000


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=64)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.out)
    arrays(asked.rows, asked.width)
    texts(asked.texts)
    print("| what | seconds | rows a second | largest memory |\n|---|---|---|---|")
    row(f"{asked.rows:,} arrays, in one go", asked.rows, embed("arrays", "rows.npy", "whole.npy"))
    killed = embed("arrays", "rows.npy", "parts.npy", parts=asked.rows // PART_ROWS // 3)
    row("the same, killed at a third", asked.rows // 3, killed)
    row("and gone on with", 2 * asked.rows // 3, embed("arrays", "rows.npy", "parts.npy"))
    row(f"{asked.texts:,} texts", asked.texts, embed("texts", "rows.txt", "texts.npy"))
    made = run(["index", "whole.npy", "--out", "index", "--overwrite"])
    row(f"index of {asked.rows:,} rows", asked.rows, made)
    same = digest("whole.npy") == digest("parts.npy")
    print(f"\nThe bytes of both files are {'equal' if same else 'NOT EQUAL'}.\n{made[2].strip()}")


def arrays(rows: int, width: int) -> None:
    """Write random arrays, a block at a time, and train a student for a step."""
    draw = np.random.default_rng(0)
    table = np.lib.format.open_memmap("rows.npy", "w+", np.float32, (rows, width))
    centres = draw.normal(size=(1000, width)).astype(np.float32)
    for begin in range(0, rows, PART_ROWS):
        block = table[begin : begin + PART_ROWS]
        block[:] = centres[draw.integers(0, 1000, len(block))]
        block += 0.5 * draw.standard_normal(block.shape, np.float32)
    table.flush()
    np.savez("few.npz", x=np.array(table[:512]), y=np.arange(512) % 4)
    train("few.npz", "mlp?hidden=128&dim=128", "arrays")


def texts(rows: int) -> None:
    """Write random texts of 5 to 30 words, and train a student for a step."""
    draw = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(WORDS)])
    with open("rows.txt", "w") as file:
        for _ in range(rows):
            file.write(" ".join(words[draw.integers(0, WORDS, draw.integers(5, 30))]) + "\n")
    with open("few.csv", "w") as file:
        lines = [f"{words[i]} {words[i + 1]},{i % 4}\n" for i in range(WORDS - 1)]
        file.writelines(["text,label\n", *lines])
    known = {"[PAD]": 0, "[UNK]": 1, **{str(word): i for i, word in enumerate(words, 2)}}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save("tokenizer.json")
    train("few.csv", "text-static?width=128&tokenizer=tokenizer.json", "texts")


def train(data: str, model: str, out: str) -> None:
    if not Path(out, "result.json").exists():
        words = ["--data", data, "--model", model, "--out", out, "--limit-steps", "1"]
        run(["train", *words, "--no-check"])


def embed(student: str, data: str, out: str, *, parts: int = 0) -> tuple[float, int, str]:
    """Embed data into a new file; kill it when so many parts are there, if any."""
    if not Path(f".{out}.parts").exists():
        Path(out).unlink(missing_ok=True)
        Path(f"{out}.ids.txt").unlink(missing_ok=True)
    return run(["embed", student, "--data", data, "--out", out], kill_at=(out, parts))


def run(
    words: list[str], *, kill_at: tuple[str, int] = ("", 0), how: str = ""
) -> tuple[float, int, str]:
    """Return seconds, largest memory in bytes and what was printed, of a process of its own."""
    begun = time.perf_counter()
    with open("said.txt", "w+") as said:
        code = f"import sys; {how or 'pass'}; from asterism.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", code, *words]
        process = subprocess.Popen(command, stdout=said)
        out, parts = kill_at
        while parts and len(list(Path(f".{out}.parts").glob("0*.npz"))) < parts:
            time.sleep(0.01)
        if parts:
            process.send_signal(signal.SIGKILL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, -signal.SIGKILL * bool(parts)):
            raise SystemExit(f"asterism {' '.join(words)} ended with {process.returncode}")
        said.seek(0)
        scale = 1 if sys.platform == "darwin" else 1024
        return time.perf_counter() - begun, used.ru_maxrss * scale, said.read()


def row(what: str, rows: int, measured: tuple[float, int, str]) -> None:
    seconds, memory, _ = measured
    print(
        f"| {what} | {seconds:.0f} | {rows / seconds:,.0f} | {memory / 1e6:,.0f} MB |", flush=True
    )


def digest(file: str) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


if __name__ == "__main__":
    main()
