"""What a training is made of: opened as the user named it, and found to fit together."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from asterism.augment import Views
from asterism.caching import refuse_unrepeatable, settle
from asterism.checkup import Case
from asterism.data import CachedTeacher, Data, KnownTeacher, open_data
from asterism.engine import Settings, seed_everything, training_views
from asterism.fitting import (
    choose_methods,
    open_student,
    open_teacher,
    refuse_ramps,
    refuse_views,
    student_classes,
    try_out,
)
from asterism.methods.base import Method
from asterism.models import Spec, in_own_code


class Parts(NamedTuple):
    """The parts of a training.

    Attributes:
        data: The data.
        teacher: The teacher, or None.
        methods: The methods, set up.
        student: The student, before training.
        card: From what `asterism.load` builds the student again.
        use_labels: Whether labels are part of the objective.
        settings: How to train, with what was left open filled in.
        views: What makes the training views; None for samples that are taken as they come.
    """

    data: Data
    teacher: nn.Module | None
    methods: list[Method]
    student: nn.Module
    card: dict[str, Any]
    use_labels: bool
    settings: Settings
    views: Views | None

    def case(self, out: str | Path | None) -> Case:
        """Return what is looked at before the training."""
        named = None if out is None else Path(out)
        how = (self.settings, self.views, self.use_labels, named)
        return Case(self.data, self.student, self.teacher, self.methods, *how)


def open_parts(choices: dict[str, Any], settings: Settings) -> Parts:
    """Open what a user named, and see that it fits together.

    Args:
        choices: The arguments of `asterism.recipe.distill`, without the settings.
        settings: How to train.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    device = settings.device  # first: a machine without it is not worth opening anything
    data = open_data(
        choices["data"],
        validation=choices["validation_data"],
        test=choices["test_data"],
        validation_share=choices["validation_share"],
        split_seed=choices["split_seed"],
        image_size=choices["image_size"],
    )
    use_labels = choices["labels"] and data.classes is not None and settings.task_weight > 0
    data.refuse_useless(use_labels=use_labels, broken=choices["on_broken"] == "stop")
    teacher, taught, methods = None, None, []
    if choices["teacher"] is not None:
        teacher = open_teacher(choices["teacher"], data)
        taught = try_out(teacher, data, "teacher")
        methods = choose_methods(choices["method"], data, taught, use_labels=use_labels)
        refuse_views(methods, settings, data, teacher)
        refuse_ramps(methods, settings)
        if isinstance(teacher, KnownTeacher) and not use_labels:
            teacher.on(data.validation_source or data.source)  # it selects the best epoch
        if isinstance(teacher, KnownTeacher) and choices["teacher_cache"] is not None:
            raise ValueError(
                f"{teacher.place} has a teacher's outputs already: leave --teacher-cache out."
            )
        if isinstance(teacher, CachedTeacher):
            data = teacher.without_absent(data)
        elif choices["teacher_cache"] is not None:
            refuse_unrepeatable(data.source)
        teacher.to(device)
    elif not use_labels:
        raise ValueError(
            "training without a teacher needs labels: class folders, or class numbers `y`."
        )
    settings = settings.for_kind(data.source.kind)
    views = training_views(data.source, methods, settings)
    names = [type(method).__name__ for method in methods]
    settings, views = settle(settings, teacher, views, names)
    classes = student_classes(
        methods, data, taught, labels=choices["labels"], use_labels=use_labels
    )
    seed_everything(settings.seed, verbose=False)
    spec = Spec(classes, data.source.image_shape, *data.statistics(), teacher=teacher)
    student, card = open_student(choices["student"], spec)
    student_dim = try_out(student, data, "student", classes=classes).embedding.shape[1]
    card["embedding_dim"] = student_dim
    teacher_dim = 0 if taught is None else taught.embedding.shape[1]
    for method in methods:
        with in_own_code(method):
            method.setup(student_dim=student_dim, teacher_dim=teacher_dim, rows=len(data.source))
    return Parts(data, teacher, methods, student, card, use_labels, settings, views)
