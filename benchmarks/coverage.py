"""How often intervals hold the truth, and how often equal students are told apart.

    python benchmarks/coverage.py [--population balanced] [--rows 300] [--draws 1000]
    python benchmarks/coverage.py --table

A population is known, so that the figure that a measure gives on average can be: the mean over all
draws. Each draw takes new rows and gives two students, equally good by construction, and a third
whose noise costs it about two points of accuracy. For each measure is counted how often the 95 %
intervals of the equal students hold the mean; how often a single look tells them apart; how often a
whole report would call anything different (Holm); and how often the third student is told from the
first. Draws are added to `coverage.jsonl`, and a call that was cut off goes on.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from asterism.measures import (
    Estimate,
    calibration_error,
    classification,
    fidelity,
    health,
    knn_accuracy,
    retrieval,
)
from asterism.types import Outputs
from asterism.verdict.looks import Look, verdicts

LATENT, WIDTH, TEACHER_WIDTH = 8, 6, 16
ROWS = (40, 100, 300, 1_000, 3_000)
ANY = "any verdict of a report"
# Noise of the equal students, and of the one that is worse.
NOISE, WORSE = 2.0, 2.6


@dataclass(frozen=True)
class Population:
    """Classes around centres.

    Attributes:
        apart: How far the centres are from each other.
        tail: How fast the sizes of the classes fall.
        classes: How many there are.
        copies: Share of the rows that are one of 50 samples, exactly.
        freedom: Degrees of freedom of the noise, Student's; 0 for normal noise.
    """

    apart: float
    tail: float
    classes: int = 10
    copies: float = 0.0
    freedom: int = 0

    def draw(self, rows: int, generator: torch.Generator) -> Iterator[tuple[Outputs, Tensor]]:
        """Yield the teacher, two equal students and a worse one, on the same rows."""
        fixed = torch.Generator().manual_seed(99)
        centres = self.apart * torch.randn(self.classes, LATENT, generator=fixed)
        to_teacher = torch.randn(LATENT, TEACHER_WIDTH, generator=fixed)
        to_student = torch.randn(LATENT, WIDTH, generator=fixed)
        sizes = torch.arange(1, self.classes + 1.0) ** -self.tail
        target = torch.multinomial(sizes, rows, replacement=True, generator=generator)
        around = torch.randn(rows, LATENT, generator=generator)
        new = torch.ones(rows, 1)
        if self.copies:
            new = (torch.rand(rows, 1, generator=generator) >= self.copies).float()
            one = torch.randint(50, (rows,), generator=generator)
            target = torch.where(new[:, 0] > 0, target, one % self.classes)
            around = torch.where(new > 0, around, torch.randn(50, LATENT, generator=fixed)[one])
        latent = centres[target] + around
        logits = -torch.cdist(latent, centres).square() / 2
        yield Outputs(latent @ to_teacher, logits), target
        for noise in (NOISE, NOISE, WORSE):
            # A copy has no noise, or it were none.
            blur = noise / 4 * new * self._noise(rows, WIDTH, generator)
            unsure = noise * new * self._noise(rows, self.classes, generator)
            yield Outputs(latent @ to_student + blur, logits + unsure), target

    def _noise(self, rows: int, columns: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(rows, columns, generator=generator)
        if not self.freedom:
            return noise
        square = torch.randn(rows, self.freedom, generator=generator).square().mean(1)
        return noise / square.sqrt()[:, None]


POPULATIONS = {
    "balanced": Population(1.2, 0.0),
    "long tail": Population(1.2, 1.5),
    "near ceiling": Population(2.2, 0.0),
    "three classes, heavy tails, copies": Population(1.2, 0.0, classes=3, copies=0.2, freedom=3),
}


def measured(student: Outputs, teacher: Outputs, target: Tensor, rows: int) -> dict[str, Estimate]:
    """Return all measures on the first rows; the others are what k-NN votes with."""
    own, taught = (Outputs(x.embedding[:rows], _logits(x)[:rows]) for x in (student, teacher))
    classes = target[:rows]
    kept = fidelity(own, taught, ks=(1, 10))
    found = retrieval(own.embedding, classes, ks=(1, 5))
    shape = health(own.embedding)
    values = {
        "accuracy": classification(_logits(own), classes).top1,
        "calibration error": calibration_error(_logits(own), classes),
        "recall@1": found.recall[1],
        "recall@5": found.recall[5],
        "MAP@R": found.map_at_r,
        "k-NN accuracy": knn_accuracy(
            student.embedding[rows:], target[rows:], own.embedding, classes
        ),
        "agreement": kept.agreement,
        "divergence": kept.divergence,
        "neighbour overlap@1": kept.neighbour_overlap[1],
        "neighbour overlap@10": kept.neighbour_overlap[10],
        "nearest neighbour found@10": kept.neighbour_recall[10],
        "trustworthiness": kept.trustworthiness,
        "continuity": kept.continuity,
        "distance correlation": kept.distance_correlation,
        "distance error": kept.distance_error,
        "angle error": kept.angle_error,
        "linear CKA": kept.cka,
        "effective rank": shape.effective_rank,
        "anisotropy": shape.anisotropy,
    }
    return {name: value for name, value in values.items() if value is not None}


def _logits(outputs: Outputs) -> Tensor:
    assert outputs.logits is not None
    return outputs.logits


def one_draw(population: Population, rows: int, seed: int) -> dict[str, list[float]]:
    """Return for each measure what one draw shows.

    That is: value and ends of both equal students, and whether they, and unequal ones, are told
    apart.
    """
    generator = torch.Generator().manual_seed(seed)
    (teacher, target), *students = population.draw(2 * rows, generator)
    one, other, worse = (measured(s, teacher, target, rows) for s, _ in students)
    record = {}
    looks = []
    for name, value in one.items():
        if name not in other:
            continue
        told = [
            0.0 if name not in beside else float(value.minus(beside[name]).p_value() < 0.05)
            for beside in (other, worse)
        ]
        if name not in ("effective rank", "anisotropy"):  # no report judges these
            gap = value.minus(other[name])
            looks.append(Look(gap, "higher", None, primary=name == "accuracy"))
        ends = [x for each in (value, other[name]) for x in (float(each), *each.interval())]
        record[name] = [*ends, *told]
    wrong = any(verdict != "cannot tell" for verdict in verdicts(looks))
    return record | {ANY: [0.0] * 6 + [float(wrong), 0.0]}


def simulate(name: str, rows: int, draws: int, file: Path) -> None:
    """Add draws to the file until there are so many of this population and number of rows."""
    done = sum(line["population"] == name and line["rows"] == rows for line in read(file))
    for seed in range(done, draws):
        record = one_draw(POPULATIONS[name], rows, seed)
        with file.open("a") as out:
            out.write(json.dumps({"population": name, "rows": rows, "measures": record}) + "\n")


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.open()] if file.exists() else []


def table(file: Path) -> str:
    """Return the tables for docs/measures.md: coverage, false and right tellings, in per cent."""
    grouped = defaultdict(list)
    for line in read(file):
        for measure, values in line["measures"].items():
            grouped[measure, line["population"], line["rows"]].append(values)
    cells = {key: torch.tensor(v, dtype=torch.float64) for key, v in grouped.items()}
    lines = []
    for population in dict.fromkeys(key[1] for key in cells):
        columns = sorted({key[2] for key in cells if key[1] == population})
        lines += ["", f"| {population} | " + " | ".join(f"{n:,} rows" for n in columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for measure in dict.fromkeys(key[0] for key in cells):
            row = [cells.get((measure, population, rows)) for rows in columns]
            lines.append(f"| {measure} | " + " | ".join(map(_cell(measure), row)) + " |")
        draws = [len(cells[ANY, population, rows]) for rows in columns]
        lines.append("| draws | " + " | ".join(map(str, draws)) + " |")
        errors = [f"{100 * math.sqrt(0.95 * 0.05 / n):.1f}" for n in draws]
        lines.append("| Monte-Carlo error at 95 % | " + " | ".join(errors) + " |")
    return "\n".join(lines[1:])


def _cell(measure: str) -> Callable[[Tensor | None], str]:
    def shown(found: Tensor | None) -> str:
        if found is None:
            return "–"
        value, low, high = found[:, [0, 3]], found[:, [1, 4]], found[:, [2, 5]]
        held = ((low <= value.mean()) & (value.mean() <= high)).double().mean()
        shares = [held, found[:, 6].mean(), found[:, 7].mean()]
        return " / ".join(f"{100 * x:.1f}" for x in (shares[1:2] if measure == ANY else shares))

    return shown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--population", choices=POPULATIONS)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--file", type=Path, default=Path("coverage.jsonl"))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.table:
        for rows in (options.rows,) if options.rows else ROWS:
            for name in (options.population,) if options.population else POPULATIONS:
                simulate(name, rows, options.draws, options.file)
    print(table(options.file))
