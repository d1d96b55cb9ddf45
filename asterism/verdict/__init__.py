"""The evaluation at the end of a run: of the student, its teacher and some baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from torch import nn

from asterism.data import Data
from asterism.measures import Cost, Episodes, cost, few_shot
from asterism.settings import Distance
from asterism.teachers import Teacher, device_of, strangers
from asterism.types import as_input, on_device
from asterism.verdict.baselines import reductions
from asterism.verdict.judgement import judge
from asterism.verdict.outputs import EncodeOn as EncodeOn
from asterism.verdict.outputs import Observed, observe
from asterism.verdict.outputs import Rows as Rows
from asterism.verdict.outputs import encoder_of as encoder_of
from asterism.verdict.outputs import outputs_on as outputs_on
from asterism.verdict.outputs import teaching as teaching
from asterism.verdict.sample import Arrays, changed_most, sampled_rows
from asterism.verdict.selection import guessed as guessed
from asterism.verdict.selection import selection as selection
from asterism.verdict.unmeasured import T
from asterism.verdict.unmeasured import Unmeasured as Unmeasured

__all__ = [
    "EncodeOn",
    "Rows",
    "Unmeasured",
    "assess",
    "encoder_of",
    "guessed",
    "outputs_on",
    "selection",
    "teaching",
]


# Batch sizes whose time every result has.
TIMED_BATCHES = (1, 64)


def assess(
    student: nn.Module,
    teacher: Teacher | None,
    data: Data,
    *,
    baselines: Mapping[str, nn.Module] | None = None,
    missing: str | None = None,
    metric: Distance = "euclidean",
    episodes: Episodes | None = None,
    timed_batches: Sequence[int] = (),
) -> tuple[dict[str, Any], Arrays]:
    """Measure the student, its teacher and baselines, on test data or else on validation rows.

    Args:
        student: The trained student.
        teacher: Its teacher, or None.
        data: The data of the run.
        baselines: Other models to measure beside them: `untrained`, `without teacher`. With a
            teacher, its embedding reduced to the student's width is measured as well.
        missing: Why there is no teacher, of a run that had one.
        metric: By what neighbours are found; by cosine, embeddings are compared as unit rows.
        episodes: Episodes of few-shot classification to measure student and teacher by, if any.
        timed_batches: Batch sizes to take the time of, beside 1 and 64.

    Returns:
        The contents of `result.json` and of `evaluation.npz` (docs/measures.md). What could not be
        measured is missing, and named under `unmeasured`.
    """
    source, _, split = data.evaluation()
    unmeasured = Unmeasured()
    if teacher is not None and not teacher.knows(source):
        missing = f"{teacher.place} has no outputs of the teacher on the {split} data"
        teacher = None

    def observed(encode_on: EncodeOn) -> Observed:
        return observe(encode_on, data).as_compared(metric)

    own = unmeasured.tried("student", lambda: observed(encoder_of(student)))
    if own is None:
        return {**_nothing(unmeasured), "split": split}, {}
    taught = None
    if teacher is not None:
        taught = unmeasured.tried("teacher", partial(observed, teaching(teacher)))
        missing = None if taught else f"the teacher failed ({unmeasured['teacher']})"
    others = {
        name: unmeasured.tried(name, partial(observed, encoder_of(model)))
        for name, model in (baselines or {}).items()
    }
    costs = _costs(student, teacher if taught else None, data, timed_batches, unmeasured)
    if taught is not None and teacher is not None:
        width = own.outputs.embedding.shape[1]
        reduced = unmeasured.tried("reductions", partial(reductions, taught, width)) or {}
        others |= {name: each.as_compared(metric) for name, each in reduced.items()}
        if source.names is not None and strangers(teacher.card, data):
            taught = taught.without_scores()
    result = judge(
        own,
        taught,
        _done(others),
        names=source.names,
        costs=_done(costs),
        missing=missing,
        unmeasured=unmeasured,
        classes=data.classes,
    )
    if metric == "cosine":
        result["headline"] += " Neighbours are those by cosine."
    sampled = partial(sampled_rows, source, own, taught, classes=data.classes)
    arrays = unmeasured.tried("sample", sampled) or {}
    plain = {
        "split": split,
        "metric": metric,
        "changed_most": changed_most(arrays),
        "unmeasured": dict(unmeasured),
    }
    if episodes is not None:
        plain["few_shot"] = _few_shot({"student": own, "teacher": taught}, episodes)
    return {**result, **plain}, arrays


def _nothing(unmeasured: Unmeasured) -> dict[str, Any]:
    """Return what is said of a student that could not be measured."""
    head = f"The student could not be measured: {unmeasured['student']}."
    empty: dict[str, Any] = {"student": {}, "measures": [], "per_class": [], "rows": 0}
    return {"headline": head, **empty, "unmeasured": dict(unmeasured)}


def _few_shot(models: Mapping[str, Observed | None], episodes: Episodes) -> dict[str, Any]:
    """Return what few shots give of each model, as plain values.

    Raises:
        ValueError: If there are no labels, or too few of a class.
    """
    found = {}
    for who, model in models.items():
        if model is None:
            continue
        if model.target is None:
            raise ValueError("few-shot classification needs labels, and these data have none.")
        measured = few_shot(model.outputs.embedding, model.target, episodes)
        found[who] = [asdict(each) for each in measured]
    return found


def _done(found: Mapping[str, T | None]) -> dict[str, T]:
    return {name: each for name, each in found.items() if each is not None}


def _costs(
    student: nn.Module,
    teacher: Teacher | None,
    data: Data,
    timed_batches: Sequence[int],
    unmeasured: Unmeasured,
) -> dict[str, Cost | None]:
    """Return what student and teacher cost; nothing of a teacher of which nobody knows."""
    sizes = [*dict.fromkeys((*TIMED_BATCHES, *timed_batches))]
    measure = partial(_cost, student, data, sizes)
    costs = {"student": unmeasured.tried_of("student", "cost", measure)}
    if teacher is not None and teacher.network is not None:
        measure = partial(_cost, teacher.network, data, sizes)
        costs["teacher"] = unmeasured.tried_of("teacher", "cost", measure)
    elif teacher is not None and teacher.card.cost is not None:
        costs["teacher"] = teacher.card.cost
    return costs


def _cost(model: nn.Module, data: Data, sizes: Sequence[int]) -> Cost:
    """Measure the cost on real samples: texts differ in length."""
    source, rows, _ = data.evaluation()
    view = source.__getitems__(rows[:64].tolist()).views[0]
    example = on_device(as_input(view), device_of(model))
    return cost(model, example, batch_sizes=sizes)
