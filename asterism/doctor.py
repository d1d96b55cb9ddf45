"""`examine()`: look at a training before an hour is spent on it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from asterism.anchors import choose_anchors
from asterism.caching import cache_for
from asterism.checkup import Finding as Finding
from asterism.checkup import check
from asterism.engine import Settings
from asterism.fitting import Model, common_size
from asterism.methods.base import Method
from asterism.parts import open_parts

__all__ = ["Finding", "examine"]


def examine(
    teacher: Model | None,
    student: Model,
    data: Any,
    *,
    method: Method | list[Method] | None = None,
    out: str | Path | None = None,
    validation_data: Any = None,
    test_data: Any = None,
    validation_share: float = 0.1,
    split_seed: int = 0,
    image_size: int | None = None,
    labels: bool = True,
    on_broken: Literal["skip", "stop"] = "skip",
    teacher_cache: str | Path | None = None,
    **settings: Any,
) -> list[Finding]:
    """Look at teacher, student, data and settings as `asterism.recipe.distill` would use them.

    Nothing is trained or written: a few steps are taken on copies.

    Args:
        teacher: The teacher, named as for `distill`.
        student: The student.
        data: The data.
        method: One method or several.
        out: The run folder that is meant: its disk is looked at.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or 32.
        labels: Use labels, where the data have them.
        on_broken: Samples that cannot be read: skip them, or refuse the data.
        teacher_cache: Folder of the teacher's outputs, to see what it holds.
        **settings: See `asterism.engine.Settings`.

    Returns:
        The findings, in the order of docs/doctor.md.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit, as `distill` would say.
    """
    choices = dict(locals())
    choices["image_size"] = common_size(image_size, student, teacher)
    parts = open_parts(choices, Settings(**settings))
    case = parts.case(out)
    if teacher_cache is not None and case.teacher:
        folder, how = Path(teacher_cache), (parts.views, parts.settings)
        case = replace(case, cache=cache_for(folder, case.teacher, teacher, parts.data, *how))
    seed = parts.settings.seed
    return check(case, anchors=choose_anchors(parts.methods, parts.teacher, parts.data, seed=seed))
