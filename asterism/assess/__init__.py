"""What is measured at the end of a run, of the student, its teacher and some baselines."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from asterism.assess.judging import judge
from asterism.assess.sampling import Arrays, changed_most, sample
from asterism.assess.seeing import device_of, outputs_of, outputs_on, reductions, see
from asterism.assess.selecting import selection
from asterism.augment import as_input
from asterism.data import Data, KnownTeacher
from asterism.evaluate import Cost, cost
from asterism.types import on_device

__all__ = ["assess", "outputs_of", "outputs_on", "selection"]


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
        The contents of `result.json` and of `evaluation.npz` (docs/measures.md).
    """
    source, _, split = data.evaluation()
    missing = None
    if isinstance(teacher, KnownTeacher) and not teacher.knows(source):
        missing = f"{teacher.place} has no outputs of the teacher on the {split} data"
        teacher = None
    ours, theirs = see(student, data), None if teacher is None else see(teacher, data)
    others = {name: see(model, data) for name, model in (baselines or {}).items()}
    costs = {"student": _cost(student, data)}
    if theirs is not None and teacher is not None:
        if not isinstance(teacher, KnownTeacher):
            costs["teacher"] = _cost(teacher, data)
        others |= reductions(theirs, ours.outputs.embedding.shape[1])
    found = judge(ours, theirs, others, names=source.names, costs=costs, missing=missing)
    arrays = sample(source, ours, theirs)
    return {**found, "split": split, "changed_most": changed_most(arrays)}, arrays


def _cost(model: nn.Module, data: Data) -> Cost:
    """Measure the cost on real samples: texts differ in length."""
    source, rows, _ = data.evaluation()
    view = source.__getitems__(rows[:64].tolist()).views[0]
    return cost(model, on_device(as_input(view), device_of(model)))
