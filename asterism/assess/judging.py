"""From what the models make of the data to all that `result.json` says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from asterism.assess.crossing import KS, WAYS, compatibility_figures
from asterism.assess.figures import (
    Figures,
    Task,
    as_values,
    cost_figures,
    fidelity_figures,
    health_figures,
    task,
)
from asterism.assess.headline import headline
from asterism.assess.records import records
from asterism.assess.seeing import Seen
from asterism.evaluate import Cost, Estimate, fidelity, health, mean_of
from asterism.evaluate.estimate import CONFIDENCE, GROUPS, RESAMPLES, SEED
from asterism.evaluate.pairs import PAIRS

# Distances from queries to all samples that one search computes; at least so many queries.
SEARCHED = 10**8
QUERIES = 2_000
NEIGHBOURS = (1, 5, 10, 20)


def judge(
    student: Seen,
    teacher: Seen | None,
    baselines: Mapping[str, Seen],
    *,
    names: Sequence[str] | None,
    costs: Mapping[str, Cost],
    missing: str | None = None,
) -> dict[str, Any]:
    """Measure, compare and put into words.

    Args:
        student: What the student makes of the data.
        teacher: What its teacher makes of them, or None.
        baselines: What the baselines make of them, by name.
        names: Names of the classes; None without labels.
        costs: Costs of `student` and `teacher`; none of a teacher that is only its outputs.
        missing: Why there is no teacher to compare with, where the run had one.

    Returns:
        Plain values: the parts of `result.json` that come from measuring (docs/measures.md).
    """
    n, models = len(student.index), {"student": student, **baselines}
    if teacher is not None:
        models["teacher"] = teacher
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SEED))
    rows = order[: max(QUERIES, SEARCHED // max(1, n))].sort().values
    tasks = {who: task(seen, len(names or ()), rows) for who, seen in models.items()}
    figures = {who: done.figures() if done else Figures() for who, done in tasks.items()}
    notes: dict[str, str] = {}
    found: dict[str, Any] = {"rows": n}
    for who in ("student", "teacher"):
        if who not in models:
            continue
        figures[who] |= health_figures(health(models[who].outputs.embedding))
        done = tasks[who]
        found[who] = done.plain() if done else {}
        if who in costs:  # a teacher that is only its outputs costs nothing to run
            figures[who] |= cost_figures(costs[who])
            found[who] = {"cost": as_values(asdict(costs[who])), **found[who]}
    if teacher is not None:
        for who in ("student", *baselines):
            kept = fidelity(models[who].outputs, teacher.outputs, ks=NEIGHBOURS, rows=rows)
            figures[who] |= fidelity_figures(kept)
            if who == "student":
                found["fidelity"] = as_values(asdict(kept))
        across, notes = compatibility_figures(student, teacher, rows)
        figures["student"] |= across
        for way in WAYS:  # what the teacher finds in its own index
            own = {k: figures["teacher"].get(("recall", k)) for k in KS}
            figures["teacher"] |= {(f"same class, {way}", k): value for k, value in own.items()}
    classes = Classes(tasks["student"], tasks.get("teacher"), student.target, rows, names or ())
    notes |= classes.worst(figures)
    others = {who: figures[who] for who in baselines}
    measures = records(figures["student"], figures.get("teacher", {}), others, notes)
    return {
        "headline": headline(measures, worst_class=classes.worst_name, missing=missing),
        **found,
        "per_class": classes.table,
        "worst_class": classes.worst_name,
        "measures": measures,
        "sampling": {
            "rows": len(rows),
            "pairs": min(PAIRS, n * (n - 1) // 2),
            "triplets": min(PAIRS, n * (n - 1) * (n - 2) // 2),
            "seed": SEED,
            "resamples": RESAMPLES,
            "groups": min(GROUPS, n),
            "confidence": CONFIDENCE,
        },
    }


class Classes:
    """Accuracy by class, or recall@1 where a model has no classifier.

    Attributes:
        table: A row per class: `class`, `count`, `student`, `teacher`, in per cent.
        worst_name: The class that lost most against the teacher, or is worst without one; None
            without labels.
    """

    def __init__(
        self,
        student: Task | None,
        teacher: Task | None,
        target: Tensor | None,
        rows: Tensor,
        names: Sequence[str],
    ) -> None:
        """Group the scores by class.

        Args:
            student: What was measured of the student.
            teacher: What was measured of the teacher.
            target: Classes of the samples.
            rows: Which samples are queries of the retrieval.
            names: Names of the classes.
        """
        self.table: list[dict[str, Any]] = []
        self.worst_name: str | None = None
        done = [x for x in (student, teacher) if x is not None]
        estimates: list[Estimate | None] = [
            x.classification.top1 if x.classification else None for x in done
        ]
        if None in estimates and target is not None:
            estimates, target = [x.retrieval.recall[1] for x in done], target[rows]
        known = [x for x in estimates if x is not None]
        if target is None or not known or len(known) < len(done):
            return
        self.estimates, self.target = known, target
        for number in torch.unique(target).tolist():
            members = target == number
            shares = [100 * float(x.scores[members].mean()) for x in known]
            self.table.append(
                {
                    "class": names[number],
                    "number": number,
                    "count": int(members.sum()),
                    "student": shares[0],
                    "teacher": shares[1] if len(shares) > 1 else None,
                }
            )
        worst = min(self.table, key=lambda row: row["student"] - (row["teacher"] or 0))
        self.worst_name, self._worst = worst["class"], worst["number"]

    def worst(self, figures: Mapping[str, Figures]) -> dict[str, str]:
        """Add the worst class to the figures of student and teacher, and return its note."""
        if self.worst_name is None:
            return {}
        members = self.target == self._worst
        for who, estimate in zip(("student", "teacher"), self.estimates, strict=False):
            within = torch.where(members, estimate.scores, torch.nan)
            figures[who][("worst class", None)] = mean_of(within)
        lost = " It lost most against the teacher." if len(self.estimates) > 1 else ""
        return {
            "worst class": f"Class '{self.worst_name}'.{lost} It was picked because it is the "
            "worst, so new data will show it less bad."
        }
