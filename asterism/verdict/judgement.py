"""All that `result.json` says of the models, from their outputs on the data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from asterism.chance import LEVEL
from asterism.measures import Cost, Fidelity, fidelity, health
from asterism.measures.estimate import CONFIDENCE
from asterism.measures.gallery import SEED
from asterism.measures.pairs import PAIRS
from asterism.verdict.classes import Classes
from asterism.verdict.compatibility import KS, WAYS, compatibility_values
from asterism.verdict.headline import headline
from asterism.verdict.new_classes import new_classes
from asterism.verdict.outputs import Observed
from asterism.verdict.prefixes import prefix_values
from asterism.verdict.table import (
    Notes,
    Values,
    as_plain,
    cost_notes,
    cost_values,
    fidelity_values,
    health_values,
    records,
)
from asterism.verdict.tasks import HIGH_CHANCE, task
from asterism.verdict.unmeasured import Unmeasured

# Distances from queries to all samples that one search computes; at least so many queries.
SEARCHED = 10**8
QUERIES = 2_000
NEIGHBOURS = (1, 5, 10, 20)


def fidelity_notes(n: int) -> Notes:
    """Say which numbers of neighbours take all there are, or so many that chance finds them."""
    notes = Notes()
    for k in NEIGHBOURS:
        if 1 < n <= k + 1:
            notes["neighbour overlap", k] = f"Not measured: {k} neighbours are all that there are."
        elif n > 1 and k / (n - 1) >= HIGH_CHANCE:
            notes["neighbour overlap", k] = f"By chance {100 * k / (n - 1):.0f} %."
    return notes


def judge(
    student: Observed,
    teacher: Observed | None,
    baselines: Mapping[str, Observed],
    *,
    names: Sequence[str] | None,
    costs: Mapping[str, Cost],
    missing: str | None = None,
    unmeasured: Unmeasured | None = None,
    classes: int | None = None,
) -> dict[str, Any]:
    """Measure, compare and put into words.

    Args:
        student: What the student makes of the data.
        teacher: What its teacher makes of them, or None.
        baselines: What the baselines make of them, by name.
        names: Names of the classes; None without labels.
        costs: Costs of `student` and `teacher`; none of a teacher that is only its outputs.
        missing: Why there is no teacher to compare with, where the run had one.
        unmeasured: Where measures that fail are named; the others are taken.
        classes: Number of the training data's classes, where there may be others among the names.

    Returns:
        Plain values: the parts of `result.json` that come from measuring (docs/measures.md).
    """
    unmeasured = Unmeasured() if unmeasured is None else unmeasured
    n = len(student.index)
    models = {"student": student, **baselines}
    if teacher is not None:
        models["teacher"] = teacher
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SEED))
    rows = order[: max(QUERIES, SEARCHED // max(1, n))].sort().values
    trained = classes or len(names or ())
    new = new_classes(student.target, trained)
    tasks = {
        who: task(model, trained, rows, partial(unmeasured.tried_of, who), new)
        for who, model in models.items()
    }
    values = {who: done.values() if done else Values() for who, done in tasks.items()}
    notes = cost_notes(costs)
    plain: dict[str, Any] = {"rows": n, "new_classes": None if new is None else new.plain()}
    for who in ("student", "teacher"):
        if who not in models:
            continue
        embedding = models[who].outputs.embedding
        if whole := unmeasured.tried_of(who, "health", partial(health, embedding)):
            values[who] |= health_values(whole)
        done = tasks[who]
        plain[who] = done.plain() if done else {}
        if who in costs:  # a teacher that is only its outputs costs nothing to run
            values[who] |= cost_values(costs[who])
            plain[who] = {"cost": as_plain(asdict(costs[who])), **plain[who]}
    if teacher is not None:
        kept, said = _beside_teacher(models, teacher, rows, values, unmeasured)
        plain |= {} if kept is None else {"fidelity": as_plain(asdict(kept))}
        notes |= said | fidelity_notes(n)
    prefixes = partial(prefix_values, student, teacher, rows)
    values["student"] |= unmeasured.tried_of("student", "first columns", prefixes) or {}
    if (asked := tasks["student"]) is not None and student.target is not None:
        notes |= asked.notes(student.target, rows)
    if new is not None and student.outputs.logits is not None:
        notes["accuracy"] = new.sentence()
    table = Classes(tasks["student"], tasks.get("teacher"), student.target, rows, names or ())
    notes |= table.worst(values)
    others = {who: values[who] for who in baselines}
    measures = records(values["student"], values.get("teacher", {}), others, notes)
    top = headline(measures, worst_class=table.worst_name, missing=missing)
    return {
        "headline": top if new is None else f"{top} {new.sentence()}",
        **plain,
        "per_class": table.table,
        "worst_class": table.worst_name,
        "measures": measures,
        "sampling": _sampling(n, len(rows)),
    }


def _sampling(n: int, queries: int) -> dict[str, float]:
    """Return how much of the data was looked at, and how sure intervals are."""
    return {
        "rows": queries,
        "pairs": min(PAIRS, n * (n - 1) // 2),
        "triplets": min(PAIRS, n * (n - 1) * (n - 2) // 2),
        "seed": SEED,
        "confidence": CONFIDENCE,
        "level": LEVEL,
    }


def _beside_teacher(
    models: Mapping[str, Observed],
    teacher: Observed,
    rows: Tensor,
    values: dict[str, Values],
    unmeasured: Unmeasured,
) -> tuple[Fidelity | None, Notes]:
    """Add what the models kept of the teacher to their values.

    Returns:
        The student's fidelity, and by measure what must be said of it in words.
    """
    found: dict[str, Fidelity | None] = {}
    for who, model in models.items():
        if who == "teacher":
            continue
        measure = partial(fidelity, model.outputs, teacher.outputs, ks=NEIGHBOURS, rows=rows)
        if (kept := unmeasured.tried_of(who, "fidelity", measure)) is not None:
            values[who] |= fidelity_values(kept)
        found[who] = kept
    search = partial(compatibility_values, models["student"], teacher, rows)
    across, notes = unmeasured.tried_of("student", "compatibility", search) or (Values(), Notes())
    values["student"] |= across
    for way in WAYS if across else ():  # what the teacher finds in its own index
        own = {k: values["teacher"].get(("recall", k)) for k in KS}
        values["teacher"] |= {(f"same class, {way}", k): value for k, value in own.items()}
    return found["student"], notes
