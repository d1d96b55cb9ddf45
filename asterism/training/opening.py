"""From a request to a training: opened as the user named it, and found to fit together."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from asterism.data import Data, account_of, open_data
from asterism.data.account import SizeBy
from asterism.engine import Training, make_task
from asterism.methods.base import Method
from asterism.models import Spec, in_own_code, with_unit_rows
from asterism.request import Request
from asterism.teachers import Teacher, common_size, open_teacher, refuse_unrepeatable, try_out
from asterism.training.default import Chosen, choose
from asterism.training.models import (
    has_views,
    open_student,
    refuse_prefixes,
    refuse_ramps,
    refuse_views,
    student_classes,
)
from asterism.training.rehearsal import rehearse
from asterism.types import Outputs
from asterism.verdict import encoder_of, outputs_on, teaching

# Training rows whose outputs a method may know before the first step.
SAMPLE_ROWS = 4_000
# Training rows by which it is told whether the teacher's embeddings have unit length, and how
# near that is in half precision.
UNIT_ROWS, UNIT_TOLERANCE = 8, 5e-3


def open_training(request: Request) -> Training:
    """Open what a user named, and see that it fits together.

    Args:
        request: What the user asked for.

    Returns:
        The training, whose request says how what was left open has been filled in.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    settings = request.settings
    device = settings.device  # first: a machine without it is not worth opening anything
    size = common_size(request.image_size, request.teacher, request.student)
    data = _open_data(request, size)
    size_by: SizeBy = "pictures" if size is None else "model"
    size_by = size_by if request.image_size is None else "user"
    request = replace(request, image_size=data.image_size or request.image_size)
    use_labels = request.labels and data.classes is not None and settings.task_weight > 0
    data.refuse_useless(use_labels=use_labels, broken=request.on_broken == "stop")
    if not use_labels:
        _refuse_without_labels(request)
    teacher: Teacher | None = None
    chosen = Chosen()
    if request.teacher is not None:
        teacher, chosen = _open_teacher(request, data, use_labels=use_labels)
        data = teacher.without_absent(data)
        teacher.to(device)
    source = data.source
    unit = teacher is not None and _has_unit_rows(teacher, data)
    settings = settings.filled_in(source.modality.optimizer, data.classes, unit=unit)
    if request.teacher_cache is not None and settings.steps_per_epoch and not settings.view_count:
        # A cache has a view for each epoch, and epochs of another length are no passes.
        settings = replace(settings, view_count=settings.epochs)
    virtual = max([settings.trained_views, *(method.views for method in chosen.methods)]) - 1
    views = source.views(settings, virtual=virtual)
    if teacher is not None:
        names = [type(method).__name__ for method in chosen.methods]
        settings, views = teacher.settle(settings, views, names)
    student, card, chosen = _open_student(
        request, data, teacher, chosen, use_labels=use_labels, unit=unit
    )
    task = make_task(settings.task, classes=data.classes or 0, width=card["embedding_dim"])
    training = Training(
        request=replace(request, settings=settings, method=list(chosen.methods)),
        data=data,
        student=student,
        card=card,
        teacher=teacher,
        methods=chosen.methods,
        views=views,
        use_labels=use_labels,
        task=task,
        account=account_of(data, size_by=size_by, method=chosen.told),
    )
    rehearse(training)
    return training


def _refuse_without_labels(request: Request) -> None:
    """Raise a ValueError if what is asked for needs labels."""
    if request.teacher is None:
        raise ValueError(
            "training without a teacher needs labels: class folders, or class numbers `y`."
        )
    if not request.settings.of_scores:
        raise ValueError(
            f"the loss {request.settings.loss} is of labels, which are left out or which the data "
            "have not: leave --loss out, too."
        )


def _open_data(request: Request, image_size: int | None) -> Data:
    return open_data(
        request.data,
        validation=request.validation_data,
        test=request.test_data,
        validation_share=request.validation_share,
        validation_classes=request.validation_classes,
        split_seed=request.split_seed,
        image_size=image_size,
    )


def _open_teacher(request: Request, data: Data, *, use_labels: bool) -> tuple[Teacher, Chosen]:
    """Return the teacher and the methods, which fit to each other and to the data."""
    settings = request.settings
    teacher = open_teacher(request.teacher, data)
    several = has_views(data, settings) and teacher.virtual
    chosen = choose(request, data, teacher.card, use_labels=use_labels, several=several)
    refuse_views(chosen.methods, settings, data, teacher)
    refuse_ramps(chosen.methods, settings)
    if not use_labels:
        teacher.on(data.validation_source or data.source)  # it selects the best epoch
    if request.teacher_cache is not None:
        if teacher.network is None:
            raise ValueError(
                f"{teacher.place} has a teacher's outputs already: leave --teacher-cache out."
            )
        refuse_unrepeatable(data.source)
    return teacher, chosen


def _open_student(
    request: Request,
    data: Data,
    teacher: Teacher | None,
    chosen: Chosen,
    *,
    use_labels: bool,
    unit: bool,
) -> tuple[nn.Module, dict[str, Any], Chosen]:
    """Return the student, its card and the methods, set up for its width."""
    taught = None if teacher is None else teacher.card
    classes = student_classes(
        chosen.methods,
        data,
        taught,
        labels=request.labels,
        use_labels=use_labels,
        of_scores=request.settings.of_scores,
    )
    _seed(request.settings.seed)
    source = data.source
    mean, std = data.statistics()
    spec = Spec(classes, source.shape, mean, std, modality=source.modality)
    if teacher is not None:
        spec = replace(spec, vocabulary=teacher.vocabulary, teacher=teacher.network)
    names = data.class_names if use_labels or taught is None else taught.names
    named = with_unit_rows(request.student) if unit else request.student
    student, card = open_student(named, spec, names if classes else None)
    tried = try_out(student, source.modality, source.shape, "student", classes=classes)
    chosen = chosen.within_reach(tried.embedding)
    width = tried.embedding.shape[1]
    sizes: dict[str, Any] = {"student_dim": width, "teacher_dim": taught.width if taught else 0}
    sample = _sample(student, teacher, data) if _asking(chosen.methods, "sample") else None
    for method in chosen.methods:
        known: dict[str, Any] = {"sample": sample} if "sample" in method.needs else {}
        with in_own_code(method):
            method.setup(**sizes, rows=len(source), **known)
    refuse_prefixes(chosen.methods, request.settings, width)
    return student, {**card, "embedding_dim": width}, chosen


def _has_unit_rows(teacher: Teacher, data: Data) -> bool:
    """Return whether the teacher's embeddings have unit length, by the first training rows."""
    rows = outputs_on(teaching(teacher), data.source, data.train[:UNIT_ROWS]).outputs.embedding
    lengths = rows.norm(dim=1)
    return len(rows) > 0 and bool((lengths - 1).abs().max() < UNIT_TOLERANCE)


def _asking(methods: Sequence[Method], need: str) -> bool:
    return any(need in method.needs for method in methods)


def _sample(student: nn.Module, teacher: Teacher | None, data: Data) -> tuple[Outputs, Outputs]:
    """Return what the untrained student and the teacher make of some training rows.

    The rows are the same for every seed, rank and restart.
    """
    assert teacher is not None
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    rows = data.train[order[:SAMPLE_ROWS].sort().values]
    own = outputs_on(encoder_of(student), data.source, rows)
    return own.outputs, outputs_on(teaching(teacher), data.source, own.index).outputs


def _seed(seed: int) -> None:
    """Begin all random numbers anew: models of users may draw from any of them."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
