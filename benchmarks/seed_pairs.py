"""Do pages tell seeds apart, and do they see a difference that is there?

    python benchmarks/seed_pairs.py [--pairs 20] [--out runs/seed-pairs]

Each pair is a student and the same student "without the teacher", on the digits. In the first
twenty the method's weight is 0, so that both trainings differ in the seed alone; in the other
twenty half of the training labels are destroyed, and a teacher that has seen them all is distilled.
Counted are the pages that say *For* or *Against*, and those that call the student better or worse
than the other in its primary measure, or in any. Last comes what a page on all pairs, as seeds of
one setting, says of the teacher's worth. What is there is not trained again.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from asterism import KD, distill, train
from asterism.report import read_accounts
from asterism.report.account import Account
from asterism.report.comparison import by_settings
from asterism.report.decision import decision, primary_of
from asterism.report.remarks import Remark
from asterism.report.seeds import over_trainings

STUDENT, TEACHER = "mlp?hidden=64", "convnet"
OTHER = "without teacher"
OPTIONS = {"batch_size": 64, "lr": 0.05, "workers": 0, "check": False, "resume": True}


def write_data(folder: Path) -> None:
    """Write the digits: test rows, training rows, and these with half of the labels drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    pictures = (digits.images * 15.9).astype(np.uint8)[..., None]
    draw = np.random.default_rng(0)
    order = draw.permutation(len(pictures))
    test, rest = order[:600], order[600:]
    y = digits.target
    half = np.where(draw.random(len(y)) < 0.5, draw.integers(0, 10, len(y)), y)
    parts = {"test": (test, y), "clean": (rest, y), "destroyed": (rest, half)}
    for name, (rows, labels) in parts.items():
        np.savez(folder / f"{name}.npz", x=pictures[rows], y=labels[rows])


def pair(folder: Path, kind: str, number: int, weight: float) -> Path:
    """Train a student beside one without the teacher, whose seed is another; return its run."""
    data = {"data": str(folder / f"{kind}.npz"), "test_data": str(folder / "test.npz")}
    alone = folder / f"{kind}-alone-{number}"
    train(STUDENT, out=alone, seed=1_000 + number, epochs=15, **data, **OPTIONS)
    run = folder / f"{kind}-{number}"
    distill(
        str(folder / "teacher"), STUDENT, out=run, method=KD(weight=weight), seed=number, epochs=15,
        baseline=alone, report=False, **data, **OPTIONS,
    )  # fmt: skip
    return run


def told(page: Account) -> tuple[bool, bool, bool]:
    """Return whether a page says For or Against, tells its primary measure, tells any."""
    heads = any(remark.kind != "open" for remark in decision(page))
    verdicts = {m.label: m.baselines[OTHER].verdict for m in page.measures if OTHER in m.baselines}
    different = [label for label, verdict in verdicts.items() if verdict in ("better", "worse")]
    primary = primary_of(page)
    return heads, primary is not None and primary.label in different, bool(different)


def main(pairs: int, out: Path) -> None:
    write_data(out)
    clean = {"data": str(out / "clean.npz"), "test_data": str(out / "test.npz")}
    train(TEACHER, out=out / "teacher", epochs=10, **clean, **OPTIONS)
    lines: list[str] = []
    together: list[Remark] = []
    for kind, weight in (("clean", 0.0), ("destroyed", 1.0)):
        runs = [pair(out, kind, number, weight) for number in range(pairs)]
        pages = read_accounts(runs)
        counts = [sum(each) for each in zip(*map(told, pages), strict=True)]
        label = "seed alone" if weight == 0 else "half of the labels destroyed, KD"
        lines.append(f"| {label} | {' | '.join(f'{count} of {pairs}' for count in counts)} |")
        together += over_trainings([*by_settings(pages).values()])
    print("| pairs | For or Against | accuracy told apart | anything told apart |")
    print("\n".join(["|---|---|---|---|", *lines]))
    for remark in together:
        print(f"{remark.kind}: {remark.text}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/seed-pairs"))
    main(**vars(parser.parse_args()))
