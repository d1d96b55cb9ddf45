"""The experiment with texts of docs/results.md: a sentence model, distilled without labels.

    python benchmarks/text.py DATA TEACHER OUT [--seeds 0 1 2] [--batch-size 256] [--students …]

What is finished in OUT is not run again.

DATA holds `clinc150_train.tsv`, `clinc150_val.tsv` (text, intent, domain), `stsb_train.tsv` and
`stsb_dev.tsv` (…, score, sentence1, sentence2). TEACHER is a folder of a sentence-transformers
model. The teacher embeds all training texts once; then students learn from its stored outputs.
Figures: Spearman's correlation of cosines with the scores of stsb_dev, recall@1 on the in-scope
queries of clinc150_val by cosine, and sentences per second in batches of 64 of those queries,
measured of all models in turn at the end, so that a busy machine slows all of them alike.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism import RKD, RRD, RRKD, Batch, Method, Outputs
from asterism.data import TextSource
from asterism.measures import cost, retrieval
from asterism.models import Spec, build, vocabulary_of
from asterism.models.tokens import by_length
from asterism.recipe import distill

STUDENTS = ("text-static?width=256", "text-transformer?layers=2&width=128")


class Pointwise(Method):
    """Copy the teacher's coordinates through a linear head: 1 - cosine."""

    paper = "the usual baseline"

    def __init__(self) -> None:
        super().__init__()

    def setup(self, *, student_dim: int, teacher_dim: int, rows: int | None = None) -> None:
        self.head = nn.Linear(student_dim, teacher_dim)

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        shown = self.head(student.embedding)
        return {"cosine": 1 - F.cosine_similarity(shown, teacher.embedding).mean()}


METHODS = {"pointwise": Pointwise, "RKD": RKD, "RRD": RRD, "RRKD": RRKD}


def rows_of(file: Path) -> list[list[str]]:
    """Return the rows of a table without quotes, less its header."""
    with open(file, encoding="utf-8") as lines:
        return [line.rstrip("\n").split("\t") for line in lines][1:]


@torch.no_grad()
def embed(model: nn.Module, texts: list[str]) -> Tensor:
    """Return unit embeddings; texts of like length go together, 64 at a time."""
    return F.normalize(by_length(texts, model.eval()).embedding)


def ranks(values: Tensor) -> Tensor:
    """Return ranks; equal values share the mean of theirs."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts.double() - 1) / 2)[place]


def measure(model: nn.Module, data: Path) -> dict[str, float]:
    """Return quality and size of a model of texts."""
    pairs = rows_of(data / "stsb_dev.tsv")
    cosine = (embed(model, [r[5] for r in pairs]) * embed(model, [r[6] for r in pairs])).sum(1)
    scores = torch.tensor([float(row[4]) for row in pairs])
    spearman = torch.corrcoef(torch.stack([ranks(cosine), ranks(scores)]))[0, 1]
    queries = [row for row in rows_of(data / "clinc150_val.tsv") if row[1] != "oos"]
    intents = {name: i for i, name in enumerate(sorted({row[1] for row in queries}))}
    target = torch.tensor([intents[row[1]] for row in queries])
    texts = [row[0] for row in queries]
    found = retrieval(embed(model, texts), target)
    return {
        "spearman": float(spearman),
        "recall@1": float(found.recall[1]),
        "MB": cost(model, ["a"], batch_sizes=(1,), repeats=1).bytes / 1e6,
    }


def speeds(models: dict[str, nn.Module], data: Path) -> dict[str, float]:
    """Return the sentences per second of each model, measured in turn: medians of seven rounds."""
    texts = [row[0] for row in rows_of(data / "clinc150_val.tsv")][:640]
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(7):
        for name, model in models.items():
            begun = time.perf_counter()
            embed(model, texts)
            seconds[name].append(time.perf_counter() - begun)
    return {name: len(texts) / statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--students", nargs="+", default=STUDENTS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    texts = [row[0] for row in rows_of(asked.data / "clinc150_train.tsv")]
    texts += [s for row in rows_of(asked.data / "stsb_train.tsv") for s in row[5:7]]
    source = TextSource(list(dict.fromkeys(texts)))
    teacher = build(f"st/{asked.teacher}", Spec(None, None, own_classifier=True))
    spec = Spec(None, None, vocabulary=vocabulary_of(teacher))
    stored = asked.out / "teacher.npy"
    if not stored.exists():
        np.save(stored, embed(teacher, source.texts).numpy())
    lines = {"teacher": [measure(teacher, asked.data)]}
    models: dict[str, nn.Module] = {"teacher": teacher}
    for name in asked.students:
        short = name.partition("?")[0]
        models[short] = build(name, spec)
        lines[f"{short}, untrained"] = [measure(models[short], asked.data)]
    for seed in asked.seeds:
        for name in asked.students:
            for method in asked.methods:
                key = f"{name.partition('?')[0]}, {method}"
                run = asked.out / f"{key.replace(', ', '-').replace(' ', '')}-{seed}"
                figures = run / "figures.json"
                if not figures.exists():
                    torch.manual_seed(seed)
                    result = distill(
                        stored, build(name, spec),
                        source, method=METHODS[method](), seed=seed, out=run, epochs=asked.epochs,
                        batch_size=asked.batch_size, lr=asked.lr, overwrite=True,
                    )  # fmt: skip
                    found = measure(result.student, asked.data)
                    figures.write_text(
                        json.dumps({**found, "seconds": result.evaluation["seconds"]})
                    )
                lines.setdefault(key, []).append(json.loads(figures.read_text()))
                print(seed, key, lines[key][-1], flush=True)
    speed = speeds(models, asked.data)
    (asked.out / "text.json").write_text(json.dumps({"runs": lines, "speed": speed}, indent=1))
    for name, rate in speed.items():
        print(f"{name}: {rate:.0f} sentences/s, {rate / speed['teacher']:.1f} times the teacher's")
    print("| model | Spearman | recall@1 % | MB |\n|---|---|---|---|")
    for key, runs in lines.items():
        cells = []
        for name, factor, form in (
            ("spearman", 1, ".3f"), ("recall@1", 100, ".1f"), ("MB", 1, ".1f"),
        ):  # fmt: skip
            values = [factor * run[name] for run in runs]
            spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):{form}}{spread}")
        print(f"| {key} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
