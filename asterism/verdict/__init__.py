"""The evaluation at the end of a run: of the student, its teacher and some baselines."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from asterism.data import Data
from asterism.measures import Cost, cost
from asterism.teachers import Teacher, device_of, strangers
from asterism.types import as_input, on_device
from asterism.verdict.baselines import reductions
from asterism.verdict.judgement import judge
from asterism.verdict.outputs import Rows as Rows
from asterism.verdict.outputs import encoder_of as encoder_of
from asterism.verdict.outputs import observe
from asterism.verdict.outputs import outputs_on as outputs_on
from asterism.verdict.outputs import teaching as teaching
from asterism.verdict.sample import Arrays, changed_most, sampled_rows
from asterism.verdict.selection import selection as selection
from asterism.verdict.unmeasured import T
from asterism.verdict.unmeasured import Unmeasured as Unmeasured

__all__ = ["Rows", "Unmeasured", "assess", "encoder_of", "outputs_on", "selection", "teaching"]


# Batch sizes whose time every result has.
TIMED_BATCHES = (1, 64)


def assess(
    student: nn.Module,
    teacher: Teacher | None,
    data: Data,
    *,
    baselines: Mapping[str, nn.Module] | None = None,
    missing: str | None = None,
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
    own = unmeasured.tried("student", lambda: observe(encoder_of(student), data))
    if own is None:
        nothing = {"headline": f"The student could not be measured: {unmeasured['student']}."}
        empty: dict[str, Any] = {"student": {}, "measures": [], "per_class": [], "rows": 0}
        return {**nothing, **empty, "split": split, "unmeasured": dict(unmeasured)}, {}
    taught = None
    if teacher is not None:
        taught = unmeasured.tried("teacher", partial(observe, teaching(teacher), data))
        missing = None if taught else f"the teacher failed ({unmeasured['teacher']})"
    others = {
        name: unmeasured.tried(name, partial(observe, encoder_of(model), data))
        for name, model in (baselines or {}).items()
    }
    sizes = [*dict.fromkeys((*TIMED_BATCHES, *timed_batches))]
    costing = partial(_cost, student, data, sizes)
    costs = {"student": unmeasured.tried_of("student", "cost", costing)}
    if taught is not None and teacher is not None:
        if teacher.network is not None:
            measure = partial(_cost, teacher.network, data, sizes)
            costs["teacher"] = unmeasured.tried_of("teacher", "cost", measure)
        elif teacher.card.cost is not None:
            costs["teacher"] = teacher.card.cost
        width = own.outputs.embedding.shape[1]
        others |= unmeasured.tried("reductions", partial(reductions, taught, width)) or {}
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
    sampled = partial(sampled_rows, source, own, taught, classes=data.classes)
    arrays = unmeasured.tried("sample", sampled) or {}
    plain = {"split": split, "changed_most": changed_most(arrays), "unmeasured": dict(unmeasured)}
    return {**result, **plain}, arrays


def _done(found: Mapping[str, T | None]) -> dict[str, T]:
    return {name: each for name, each in found.items() if each is not None}


def _cost(model: nn.Module, data: Data, sizes: Sequence[int]) -> Cost:
    """Measure the cost on real samples: texts differ in length."""
    source, rows, _ = data.evaluation()
    view = source.__getitems__(rows[:64].tolist()).views[0]
    example = on_device(as_input(view), device_of(model))
    return cost(model, example, batch_sizes=sizes)
