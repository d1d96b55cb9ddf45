"""What is measured at the end of a run, of the student, its teacher and some baselines."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from asterism.assess.figures import (
    Figures,
    Task,
    as_values,
    compatibility_figures,
    cost_figures,
    fidelity_figures,
    health_figures,
    task,
    worst_class,
)
from asterism.assess.headline import headline
from asterism.assess.records import records
from asterism.assess.sample import Arrays, changed_most, sample
from asterism.assess.seeing import device_of, outputs_of, reductions, see
from asterism.assess.selecting import selection
from asterism.augment import to_float
from asterism.data import Data
from asterism.evaluate import Cost, cost, fidelity, health
from asterism.evaluate.estimate import CONFIDENCE, GROUPS, RESAMPLES, SEED
from asterism.evaluate.pairs import PAIRS

__all__ = ["assess", "outputs_of", "selection"]

# Queries whose neighbours are looked for among all samples.
QUERIES = 5_000


def assess(
    student: nn.Module,
    teacher: nn.Module | None,
    data: Data,
    *,
    baselines: Mapping[str, nn.Module] | None = None,
) -> tuple[dict[str, Any], Arrays]:
    """Measure the student, its teacher and baselines, on test data or else on validation rows.

    Args:
        student: The trained student.
        teacher: Its teacher, or None.
        data: The data of the run.
        baselines: Other models to measure beside them: `untrained`, `without teacher`. With a
            teacher, its embedding reduced to the student's width is measured as well.

    Returns:
        The contents of `result.json` and of `evaluation.npz`; docs/measures.md has the schema.
    """
    source, _, split = data.evaluation()
    ours, theirs = see(student, data), None if teacher is None else see(teacher, data)
    others = {name: see(model, data) for name, model in (baselines or {}).items()}
    if theirs is not None:
        others |= reductions(theirs, ours.outputs.embedding.shape[1])
    n = len(ours.index)
    rows = _queries(n)
    tasks = {"student": task(ours, data.classes, rows)}
    figures, teachers, notes = _figures(tasks["student"]), Figures(), dict[str, str]()
    compared = {name: _figures(task(seen, data.classes, rows)) for name, seen in others.items()}
    figures |= health_figures(health(ours.outputs.embedding))
    costs = {"student": _cost(student, data)}
    figures |= cost_figures(costs["student"])
    found: dict[str, Any] = {"split": split, "rows": n}
    if theirs is not None and teacher is not None:
        tasks["teacher"] = task(theirs, data.classes, rows)
        costs["teacher"] = _cost(teacher, data)
        teachers |= _figures(tasks["teacher"]) | cost_figures(costs["teacher"])
        teachers |= health_figures(health(theirs.outputs.embedding))
        kept = fidelity(ours.outputs, theirs.outputs, ks=(1, 5, 10, 20), rows=rows)
        found["fidelity"] = as_values(asdict(kept))
        figures |= fidelity_figures(kept)
        for name, seen in others.items():
            like = fidelity(seen.outputs, theirs.outputs, ks=(1, 5, 10, 20), rows=rows)
            compared[name] |= fidelity_figures(like)
        across, notes = compatibility_figures(ours, theirs, rows)
        figures |= across
        teachers |= {
            (f"same class, {way}", k): teachers.get(("recall", k))
            for way in ("as it is", "rotated", "linear map")
            for k in (1, 10)
        }
    for who, done in tasks.items():
        found[who] = {"cost": as_values(asdict(costs[who])), **_plain(done)}
    found["per_class"], worst = _per_class(tasks, ours.target, rows, data)
    if worst is not None:
        figures |= worst[0]
        teachers |= worst[1]
        notes["worst class"] = (
            f"Class '{worst[2]}'"
            + (", which lost most against the teacher" if theirs is not None else "")
            + ". It was picked because it is the worst, so on new data it will look less bad."
        )
    measures = records(figures, teachers, compared, notes)
    for record in measures:
        if record["name"] == "worst class" and worst is not None:
            record["class"] = worst[2]
    arrays = sample(source, ours, theirs)
    return {
        "headline": headline(measures),
        **found,
        "measures": measures,
        "sampling": {
            "rows": len(rows),
            "pairs": min(PAIRS, n * (n - 1) // 2),
            "triplets": min(PAIRS, n * (n - 1) * (n - 2) // 2),
            "seed": SEED,
            "resamples": RESAMPLES,
            "groups": GROUPS,
            "confidence": CONFIDENCE,
        },
        "changed_most": changed_most(arrays),
    }, arrays


def _queries(n: int) -> Tensor:
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SEED))
    return order[:QUERIES].sort().values


def _figures(done: Task | None) -> Figures:
    return {} if done is None else done.figures()


def _cost(model: nn.Module, data: Data) -> Cost:
    """Measure the cost on real samples: texts differ in length."""
    source, rows, _ = data.evaluation()
    view = source.__getitems__(rows[:64].tolist()).views[0]
    if isinstance(view, Tensor):
        image = torch.zeros(1, *view.shape[1:]) if not len(view) else to_float(view)
        return cost(model, image.to(device_of(model)))
    return cost(model, view)


def _plain(done: Task | None) -> dict[str, Any]:
    """Return the figures of a task in the form that tables on the screen read."""
    if done is None:
        return {}
    found = {"retrieval": done.retrieval, "knn": done.knn, "probe": done.probe}
    plain: dict[str, Any] = {
        "retrieval": as_values(asdict(done.retrieval)),
        "knn": as_values(found["knn"]),
        "probe": as_values(found["probe"]),
    }
    if done.classification is not None:
        plain["classification"] = as_values(asdict(done.classification))
    return plain


def _per_class(
    tasks: Mapping[str, Task | None], target: Tensor | None, rows: Tensor, data: Data
) -> tuple[list[dict[str, Any]], tuple[Figures, Figures, str] | None]:
    """Return accuracy by class, or recall@1 without classifiers, and the worst class."""
    done = [x for x in tasks.values() if x is not None]
    names = data.source.names
    if not done or target is None or names is None:
        return [], None
    estimates = [x.classification.top1 if x.classification else None for x in done]
    if None in estimates:
        estimates, target = [x.retrieval.recall[1] for x in done], target[rows]
    ours, theirs = estimates[0], estimates[1] if len(estimates) > 1 else None
    if ours is None:
        return [], None
    table = []
    for number in torch.unique(target).tolist():
        members = target == number
        table.append(
            {
                "class": names[number],
                "count": int(members.sum()),
                "student": 100 * float(ours.scores[members].mean()),
                "teacher": None if theirs is None else 100 * float(theirs.scores[members].mean()),
            }
        )
    return table, worst_class(ours, theirs, target, names)
