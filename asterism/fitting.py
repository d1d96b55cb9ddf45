"""Do teacher, student, methods and data fit together? Asked before an hour is spent."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asterism.data import Data, KnownTeacher, StoredTeacher, is_cache, is_stored, open_stored
from asterism.data.cached import cached_size, open_cached
from asterism.engine import Settings
from asterism.evaluate.embedding import evaluating
from asterism.methods import KD, RKD
from asterism.methods.base import NEEDS, Method
from asterism.models import (
    BUILT_IN,
    Spec,
    as_text,
    build,
    card_of,
    in_words,
    input_size,
    tokeniser_of,
)
from asterism.models.adapt import Adapted
from asterism.names import split_name
from asterism.run import Run
from asterism.student import Student, load, run_of, student_of_run
from asterism.types import Outputs, Samples

# A name, a module, or what makes one.
Model = str | Path | nn.Module | Callable[..., nn.Module]


def open_student(name: Model, spec: Spec) -> tuple[nn.Module, dict[str, Any]]:
    """Return the student, and the card from which `asterism.load` builds it again.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no such model, or an earlier student has other classes.
    """
    earlier = student_of_run(name)
    if earlier is None:
        student = build(name, spec)
        embedding = student.embedding if isinstance(student, Adapted) else None
        kept = {"model": as_text(name), "embedding": embedding, "config": card_of(student)}
        return student, {**kept, **spec.card()}
    card = Run(earlier[1]).read_card()
    if spec.classes not in (None, card["classes"]):
        raise ValueError(
            f"the student of {earlier[1]} has {card['classes'] or 'no'} classes, and this run "
            f"needs {spec.classes}: begin with a new one."
        )
    return earlier[0].model, card


def open_teacher(name: Model, data: Data) -> nn.Module:
    """Return the teacher: the student of an earlier run, a file or cache of outputs, or a model.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no such model, or it is a built-in one without weights.
    """
    if is_cache(name):
        return open_cached(Path(str(name)), data.source)
    if earlier := student_of_run(name):
        return earlier[0]
    base, given = split_name(str(name)) if isinstance(name, str | Path) else ("", {})
    if is_stored(Path(base)):
        stored = open_stored(Path(base), given)
        stored.on(data.source)  # the training data come first: rows without ids are theirs
        return stored
    if base in BUILT_IN and "weights" not in given:
        raise ValueError(f"the teacher {name} has no weights: name them, {name}?weights=FILE.")
    spec = Spec(data.classes, data.source.image_shape, own_classifier=True)
    return build(name, spec).eval()


def open_baseline(run: str | Path, student: Model) -> nn.Module:
    """Return the student of a run without the teacher, built as the present student is."""
    student = str(student) if isinstance(student, Path) else student
    own_code = not isinstance(student, str) or ".py:" in split_name(student)[0]
    return load(run, factory=copy.deepcopy(student) if own_code else None)


def common_size(asked: int | None, *models: Model | None) -> int:
    """Return the size of images that is asked for, or the larger that some models were made for.

    A cache of a teacher's outputs has the only one at which they are right; 32 if any will do.

    Raises:
        ValueError: If no picture has the size that is asked for.
    """
    if asked is not None:
        if asked < 1:
            raise ValueError(f"image_size must be at least 1; got {asked}.")
        return asked
    sizes = []
    for model in models:
        if is_cache(model):
            return cached_size(Path(str(model)))
        run = run_of(model)
        if run is not None and (run / "student.json").is_file():
            shape = Run(run).read_card().get("image_shape")
        else:
            shape = model.image_shape if isinstance(model, Student) else None
        size = shape[1] if shape else input_size(model)
        sizes += [size] if size else []
    return int(max(sizes, default=32))


def refuse_views(
    methods: Sequence[Method], settings: Settings, data: Data, teacher: nn.Module
) -> None:
    """Raise a ValueError if several views are asked for of data or a teacher that have one."""
    asking = [type(m).__name__ for m in methods if m.views > 1]
    if settings.trained_views > 1:
        asking.append(f"train_views {settings.train_views}")
    one = "a text" if data.source.kind == "text" else "a teacher that is only its outputs"
    if asking and (data.source.kind == "text" or isinstance(teacher, StoredTeacher)):
        raise ValueError(
            f"{asking[0]} needs augmented views of each sample, and {one} has one clean view: "
            "use a method of one view, as RKD, RRD and RRKD are."
        )


def refuse_ramps(methods: Sequence[Method], settings: Settings) -> None:
    """Raise a ValueError if weights would be measured while a method still changes its own."""
    for method in methods:
        if settings.loss_weights == "auto" and method.weight_grows:
            raise ValueError(
                f"{type(method).__name__} lets its weights grow while it trains, and loss_weights "
                "auto would take them for small ones: leave one of the two out."
            )


def choose_methods(
    method: Method | Sequence[Method] | None, data: Data, taught: Outputs, *, use_labels: bool
) -> list[Method]:
    """Return the methods as a list; without any, what is known to work with such a teacher."""
    if method is not None:
        return [method] if isinstance(method, Method) else list(method)
    if not use_labels:
        return [RKD()]
    relations = RKD(distance_weight=25.0, angle_weight=50.0)
    same_classes = taught.logits is not None and taught.logits.shape[1] == data.classes
    return [relations, KD()] if same_classes else [relations]


@torch.no_grad()
def try_out(model: nn.Module, data: Data, role: str, *, classes: int | None = None) -> Outputs:
    """Run two samples through a model, to see what it returns before an hour is spent.

    Of a teacher whose outputs are known already only the widths are looked at.

    Args:
        model: The model.
        data: The data of the run.
        role: What to call the model.
        classes: Number of classes that labels or methods ask it for, if any.

    Raises:
        ValueError: If it cannot take the samples, or returns something else.
    """
    if isinstance(model, KnownTeacher):
        embedding, logits = (torch.zeros(2, width) for width in model.widths)
        return Outputs(embedding, logits if model.widths[1] else None)
    shape = data.source.image_shape
    if shape is not None and tokeniser_of(model) is not None:
        raise ValueError(f"the {role} takes texts, and the data are images.")
    samples: Samples = ["a text", "another"] if shape is None else torch.zeros(2, *shape)
    what = "texts" if shape is None else f"images of shape {shape}"
    try:
        with evaluating(model):
            outputs = model(samples)
    except Exception as error:  # of any kind: a user's own module may run here
        raise ValueError(f"the {role} cannot take {what}: {in_words(error)}.") from error
    if not isinstance(outputs, Outputs) or outputs.embedding.ndim != 2:
        raise ValueError(f"the {role} must return an embedding of shape (n, d) for each sample.")
    if classes and (outputs.logits is None or outputs.logits.shape[1] != classes):
        raise ValueError(
            f"the {role} gives no scores of {classes} classes, and labels or methods need them: "
            "give it a classifier, or leave them out."
        )
    return outputs


def student_classes(
    methods: Sequence[Method],
    data: Data,
    taught: Outputs | None,
    *,
    labels: bool,
    use_labels: bool,
) -> int | None:
    """Return the number of classes of the student, or say what does not fit.

    Args:
        methods: The methods.
        data: The data.
        taught: What the teacher returns, if there is one.
        labels: Whether the user lets the run see labels.
        use_labels: Whether labels are part of the objective.

    Raises:
        ValueError: If a method needs what data, teacher or user do not give.
    """
    for method in methods:
        name = type(method).__name__
        if isinstance(method.needs, str) or not NEEDS.issuperset(method.needs):
            raise ValueError(
                f"{name}.needs must be a set of any of {', '.join(sorted(NEEDS))}; got "
                f"{method.needs!r}."
            )
        if "logits" in method.needs:
            if taught is None or taught.logits is None:
                raise ValueError(
                    f"{name} compares class scores, and the teacher has none: use RKD, which "
                    "compares embeddings."
                )
            width = taught.logits.shape[1]
            if use_labels and width != data.classes:
                raise ValueError(
                    f"{name} compares class scores: the teacher has {width} classes, the data "
                    f"{data.classes}. Use RKD, which compares embeddings, or --labels false."
                )
        if not labels and ("target" in method.needs or _chosen_by_label(method)):
            raise ValueError(f"{name} needs labels, and --labels false leaves them out.")
        if "target" in method.needs and data.classes is None:
            raise ValueError(f"{name} needs labels, and the data have none.")
    if use_labels:
        return data.classes
    if any("logits" in method.needs for method in methods) and taught is not None:
        return None if taught.logits is None else taught.logits.shape[1]
    return None


def _chosen_by_label(method: Method) -> bool:
    return "anchors" in method.needs and method.anchors != "random"
