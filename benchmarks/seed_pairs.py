"""Do pages tell seeds apart, and do they see a difference that is there?

    python benchmarks/seed_pairs.py [--pairs 20] [--out runs/seed-pairs]
    python benchmarks/seed_pairs.py --texts clinc150_train.tsv --tokenizer FOLDER

Each pair is a student and the same student "without the teacher", on the digits, or on the texts of
twenty classes of a table whose first columns are text and class. In the first
twenty the method's weight is 0, so that both trainings differ in the seed alone; in the other
twenty half of the training labels are destroyed, and a teacher that has seen them all is distilled.
Counted are the pages that say *For* or *Against*, and those that call the student better or worse
than the other in its primary measure, or in any. Last comes what a page on all pairs, as seeds of
one setting, says of the teacher's worth. What is there is not trained again.
"""

import argparse
import csv
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

# Student, teacher and epochs of both, by what the samples are. A student of texts that began with
# the teacher's tokens would have something of it, whatever the method's weight.
DIGITS = ("mlp?hidden=64", "convnet", 15, 10)
TEXTS = ("text-static?width=16&start=random", "text-static?width=64", 3, 3)
CLASSES = 20
OTHER = "without teacher"
OPTIONS = {"batch_size": 64, "lr": 0.05, "workers": 0, "check": False, "resume": True}


def samples(texts: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the digits, or the texts of the first classes of a table, with their labels."""
    if texts is None:
        digits = load_digits()
        return (digits.images * 15.9).astype(np.uint8)[..., None], digits.target
    with texts.open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    names = sorted({row[1] for row in rows})[:CLASSES]
    pairs = [(row[0], names.index(row[1])) for row in rows if row[1] in names]
    return np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])


def write_data(folder: Path, texts: Path | None) -> str:
    """Write test and training rows, and these with half of the labels drawn; return the ending."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = samples(texts)
    draw = np.random.default_rng(0)
    order = draw.permutation(len(x))
    test, rest = order[:600], order[600:]
    half = np.where(draw.random(len(y)) < 0.5, draw.integers(0, y.max() + 1, len(y)), y)
    parts = {"test": (test, y), "clean": (rest, y), "destroyed": (rest, half)}
    for name, (rows, labels) in parts.items():
        if texts is None:
            np.savez(folder / f"{name}.npz", x=x[rows], y=labels[rows])
            continue
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [("text", "label"), *zip(x[rows], labels[rows], strict=True)]
            )
    return ".npz" if texts is None else ".csv"


def of_kind(words: str | None) -> tuple[str, str, int, int]:
    """Return student, teacher and epochs of both for the digits, or for texts cut in such words."""
    if words is None:
        return DIGITS
    student, teacher, *epochs = TEXTS
    return f"{student}&tokenizer={words}", f"{teacher}&tokenizer={words}", *epochs


def pair(folder: Path, kind: str, number: int, weight: float, words: str | None) -> Path:
    """Train a student beside one without the teacher, whose seed is another; return its run."""
    end = ".csv" if words else ".npz"
    student, _, epochs, _ = of_kind(words)
    data = {"data": str(folder / f"{kind}{end}"), "test_data": str(folder / f"test{end}")}
    options = {**data, **OPTIONS, "epochs": epochs}
    alone = folder / f"{kind}-alone-{number}"
    train(student, out=alone, seed=1_000 + number, **options)
    run = folder / f"{kind}-{number}"
    distill(
        str(folder / "teacher"), student, out=run, method=KD(weight=weight), seed=number,
        baseline=alone, report=False, **options,
    )  # fmt: skip
    return run


def told(page: Account) -> tuple[bool, bool, bool]:
    """Return whether a page says For or Against, tells its primary measure, tells any."""
    heads = any(remark.kind != "open" for remark in decision(page))
    verdicts = {m.label: m.baselines[OTHER].verdict for m in page.measures if OTHER in m.baselines}
    different = [label for label, verdict in verdicts.items() if verdict in ("better", "worse")]
    primary = primary_of(page)
    return heads, primary is not None and primary.label in different, bool(different)


def main(pairs: int, out: Path, texts: Path | None, tokenizer: str | None) -> None:
    end = write_data(out, texts)
    clean = {"data": str(out / f"clean{end}"), "test_data": str(out / f"test{end}")}
    _, teacher, _, epochs = of_kind(tokenizer)
    train(teacher, out=out / "teacher", epochs=epochs, **clean, **OPTIONS)
    lines: list[str] = []
    together: list[Remark] = []
    for kind, weight in (("clean", 0.0), ("destroyed", 1.0)):
        runs = [pair(out, kind, number, weight, tokenizer) for number in range(pairs)]
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
    parser.add_argument("--texts", type=Path, help="A .tsv table: text, class, other columns.")
    parser.add_argument("--tokenizer", help="For texts: a folder that has a tokeniser.")
    main(**vars(parser.parse_args()))
