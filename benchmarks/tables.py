"""Tables that do not fit in memory: a training and vectors of many texts in 2 GB (docs/scale.md).

    python benchmarks/tables.py OUT [--rows 10000000] [--both 200000] [--steps 20] [--part 1/20]

In OUT it makes a Parquet table of random texts with 100 classes and ids, sorted by class, and a
teacher that was trained for a step. A student is distilled for some steps and its vectors of a part
of the rows are written. Of `--both` rows an epoch is trained twice, held in memory and by row
groups: samples a second, and the accuracy after an epoch in the order of blocks beside that of a
full shuffle. What is printed are two tables, with the largest resident memory of each process.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from vectors import WORDS, row, run, texts

from asterism.names import part_of

CLASSES, GROUP_ROWS = 100, 2**17
ID = pyarrow.field("id", pyarrow.int64())
IN_MEMORY = "pass"
# Two groups at a time, as of a table of a thousand groups.
BY_GROUPS = "large.LARGE_ROWS = 0; groups.KEPT_BYTES = 1"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--both", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--part", default="1/20")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.out)
    texts(1000)
    table("few.parquet", 1_000)
    table("both.parquet", asked.both, 2**14)
    table("many.parquet", asked.rows)
    print("| what | seconds | rows a second | largest memory |\n|---|---|---|---|")
    steps = ["--limit-steps", str(asked.steps)]
    made = distilled("many.parquet", "many", steps)
    row(f"{asked.steps} steps of {asked.rows:,} texts", 256 * asked.steps, made)
    Path("many.npy").unlink(missing_ok=True)
    part = part_of(asked.part, asked.rows)
    words = ["--data", "many.parquet", "--out", "many.npy", "--part", asked.part]
    row(f"vectors of {len(part):,} of them", len(part), run(["embed", "many", *words]))
    print("\n| order | samples a second | accuracy after an epoch |\n|---|---|---|")
    for name, how in (("full shuffle, in memory", IN_MEMORY), ("blocks, two at a time", BY_GROUPS)):
        distilled("both.parquet", "both", ["--epochs", "1"], how)
        lines = [json.loads(line) for line in Path("both/metrics.jsonl").read_text().splitlines()]
        rates = [line["samples_per_second"] for line in lines if "samples_per_second" in line]
        accuracy = [line["val/accuracy"] for line in lines if "val/accuracy" in line]
        print(f"| {name} | {np.median(rates):,.0f} | {accuracy[-1]:.2f} |", flush=True)


def table(file: str, rows: int, group_rows: int = GROUP_ROWS) -> None:
    """Write random texts, a few words of each class among common ones, sorted by class.

    Above a group of them they are drawn from as many, in any order.
    """
    if Path(file).exists():
        return
    draw = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(WORDS)])
    few = min(rows, max(GROUP_ROWS, 200_000))
    label = np.arange(few) * CLASSES // few
    own = label[:, None] * 20 + draw.integers(0, 20, (few, 3))
    chosen = words[np.concatenate([draw.integers(2000, WORDS, (few, 12)), own], 1)]
    texts = pyarrow.table({"text": [" ".join(each) for each in chosen], "label": label})
    with pyarrow.parquet.ParquetWriter(file, texts.schema.append(ID)) as writer:
        for begin in range(0, rows, group_rows):
            ids = np.arange(begin, min(begin + group_rows, rows))
            some = texts.take(ids if few == rows else draw.integers(0, few, len(ids)))
            writer.write_table(some.append_column(ID, pyarrow.array(ids)))


def distilled(data: str, out: str, more: list[str], how: str = "") -> tuple[float, int, str]:
    """Distil a student in a process of its own."""
    student = "text-static?width=64&tokenizer=tokenizer.json"
    words = ["--teacher", "texts", "--student", student, "--data", data, "--out", out, *more]
    words += [
        "--validation-data",
        "few.parquet",
        "--batch-size",
        "256",
        "--no-check",
        "--overwrite",
    ]
    words += ["--no-report", "--method", "KD" if how else "RKD", "--workers", "0"]
    return run(["distill", *words], how=how and f"from asterism.data import groups, large; {how}")


if __name__ == "__main__":
    main()
