"""The CIFAR-10 table of docs/results.md: four objectives, three seeds, one short schedule.

    python benchmarks/cifar10_table.py TRAIN.npz TEST.npz TEACHER.safetensors [--print]

Start it in several terminals to share the cells; a finished cell is not run again, an interrupted
one goes on at its last epoch. `--print` only prints the table of what is there.
"""

import json
import statistics
import sys
from pathlib import Path

from asterism.cli import main

FOLDER = Path("runs/cifar10")
COMMON = (
    "--student resnet20 --epochs 24 --batch-size 128 --lr 0.1 --schedule one-cycle "
    "--validation-share 0.02 --keep last"
).split()
RKD = "--method.distance_weight 25 --method.angle_weight 50".split()
ROWS = {
    "cross-entropy": None,
    "KD": ["--method", "KD"],
    "RKD": ["--method", "RKD", *RKD],
    "RKD + KD": ["--method+", "RKD", *RKD, "--method+", "KD"],
}
ORDER = ("RKD + KD", "cross-entropy", "KD", "RKD")
SEEDS = (0, 1, 2)


def cell(row: str, seed: int) -> Path:
    """Return the run folder of one cell."""
    return FOLDER / f"{row.lower().replace(' + ', '-')}-{seed}"


def run_all(train: str, test: str, weights: str) -> None:
    """Run the cells that nobody has finished or is running."""
    teacher = f"benchmarks/cifar.py:resnet_a?depth=56&weights={weights}"
    for seed in SEEDS:
        for row in ORDER:
            out = cell(row, seed)
            if (out / "result.json").exists():
                continue
            options = [*COMMON, "--data", train, "--test-data", test, "--seed", str(seed)]
            options += ["--out", str(out), "--resume"]
            method = ROWS[row]
            if method is None:
                options[options.index("--student")] = "--model"
                code = main(["train", *options])
            else:
                cache = ["--teacher-cache", str(FOLDER / "teacher-cache")]
                code = main(["distill", "--teacher", teacher, *method, *cache, *options])
            print(f"{row}, seed {seed}: exit code {code}", flush=True)


def print_table() -> None:
    """Print the Markdown table of the finished cells."""
    print("| objective | seeds | accuracy % | recall@1 % | probe % | agreement % | seconds |")
    print("|---|---|---|---|---|---|---|")
    for row in ROWS:
        results = [
            json.loads((cell(row, seed) / "result.json").read_text())
            for seed in SEEDS
            if (cell(row, seed) / "result.json").exists()
        ]
        students = [result["student"] for result in results]
        columns = [
            [100 * s["classification"]["top1"] for s in students],
            [100 * s["retrieval"]["recall"]["1"] for s in students],
            [100 * s["probe"] for s in students],
            [100 * r["fidelity"]["agreement"] for r in results if "fidelity" in r],
            [r["seconds"] for r in results],
        ]
        cells = " | ".join(_mean(values) for values in columns)
        print(f"| {row} | {len(results)} | {cells} |")


def _mean(values: list[float]) -> str:
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


if __name__ == "__main__":
    if "--print" not in sys.argv:
        run_all(*sys.argv[1:4])
    print_table()
