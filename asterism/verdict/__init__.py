"""The evaluation at the end of a run: of the student, its teacher and some baselines."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from asterism.data import Data
from asterism.measures import Cost, cost
from asterism.teachers import Teacher, device_of
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

__all__ = ["Rows", "assess", "encoder_of", "outputs_on", "selection", "teaching"]


def assess(
    student: nn.Module,
    teacher: Teacher | None,
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
    if teacher is not None and not teacher.knows(source):
        missing = f"{teacher.place} has no outputs of the teacher on the {split} data"
        teacher = None
    own = observe(encoder_of(student), data)
    taught = None if teacher is None else observe(teaching(teacher), data)
    others = {name: observe(encoder_of(model), data) for name, model in (baselines or {}).items()}
    costs = {"student": _cost(student, data)}
    if taught is not None and teacher is not None:
        if teacher.network is not None:
            costs["teacher"] = _cost(teacher.network, data)
        others |= reductions(taught, own.outputs.embedding.shape[1])
    result = judge(
        own,
        taught,
        others,
        names=source.names,
        costs=costs,
        missing=missing,
        classes=data.classes,
    )
    arrays = sampled_rows(source, own, taught)
    return {**result, "split": split, "changed_most": changed_most(arrays)}, arrays


def _cost(model: nn.Module, data: Data) -> Cost:
    """Measure the cost on real samples: texts differ in length."""
    source, rows, _ = data.evaluation()
    view = source.__getitems__(rows[:64].tolist()).views[0]
    return cost(model, on_device(as_input(view), device_of(model)))
