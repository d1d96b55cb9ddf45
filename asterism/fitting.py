"""Do teacher, student, methods and data fit together? Asked before an hour is spent."""

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl

import torch
from torch import nn

from asterism.data import Data, StoredTeacher, is_stored, open_stored
from asterism.engine import Settings
from asterism.evaluate.embedding import evaluating
from asterism.methods import KD, RKD
from asterism.methods.base import Method
from asterism.models import BUILT_IN, Spec, build, input_size, tokeniser_of
from asterism.run import Run
from asterism.student import load
from asterism.types import Outputs, Samples

Model = str | nn.Module | Callable[..., nn.Module]


def open_teacher(name: Model, data: Data) -> nn.Module:
    """Return the teacher: the student of an earlier run, or a model by name.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no such model, or it is a built-in one without weights.
    """
    if isinstance(name, str):
        base, _, query = name.partition("?")
        path = Path(base)
        if path.name == "student.safetensors" and (path.parent / "student.json").is_file():
            path = path.parent
        if path.is_dir():
            return load(path)
        if is_stored(path):
            return open_stored(path, dict(parse_qsl(query)))
    if isinstance(name, str) and name.partition("?")[0] in BUILT_IN and "weights=" not in name:
        raise ValueError(f"the teacher {name} has no weights: name them, {name}?weights=FILE.")
    spec = Spec(data.classes, data.source.image_shape, own_classifier=True)
    return build(name, spec).eval()


def common_size(*models: Model | None) -> int:
    """Return the height and width that the larger of some models was made for, or 32."""
    sizes = []
    for model in models:
        if isinstance(model, str) and (Path(model) / "student.json").is_file():
            shape = Run(model).read_card().get("image_shape")
            size = shape and shape[1]
        else:
            size = input_size(model)
        sizes += [size] if size else []
    return int(max(sizes, default=32))


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
def try_out(model: nn.Module, data: Data, role: str) -> Outputs:
    """Run two samples through a model, to see what it returns before an hour is spent."""
    if isinstance(model, StoredTeacher):
        return model.attach(data.source).of(torch.arange(2))
    shape = data.source.image_shape
    if shape is not None and tokeniser_of(model) is not None:
        raise ValueError(f"the {role} takes texts, and the data are images.")
    samples: Samples = ["a text", "another"] if shape is None else torch.zeros(2, *shape)
    what = "texts" if shape is None else f"images of shape {shape}"
    try:
        with evaluating(model):
            outputs = model(samples)
    except (RuntimeError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the {role} cannot take {what}: {error}.") from error
    if not isinstance(outputs, Outputs) or outputs.embedding.ndim != 2:
        raise ValueError(f"the {role} must return an embedding of shape (n, d) for each sample.")
    return outputs


def refuse_views(
    methods: Sequence[Method], settings: Settings, data: Data, teacher: nn.Module
) -> None:
    """Raise a ValueError if several views are asked for of data or a teacher that have one."""
    asking = [type(m).__name__ for m in methods if m.views > 1]
    if settings.train_views and "virtual" in settings.train_views:
        asking.append(f"train_views {settings.train_views}")
    one = "a text" if data.source.kind == "text" else "a teacher that is only its outputs"
    if asking and (data.source.kind == "text" or isinstance(teacher, StoredTeacher)):
        raise ValueError(
            f"{asking[0]} needs augmented views of each sample, and {one} has one clean view: "
            "use a method of one view, as RKD, RRD and RRKD are."
        )


def student_classes(
    methods: Sequence[Method], data: Data, taught: Outputs | None, use_labels: bool
) -> int | None:
    """Return the number of classes of the student, or say what does not fit."""
    for method in methods:
        name = type(method).__name__
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
        if "target" in method.needs and data.classes is None:
            raise ValueError(f"{name} needs labels, and the data have none.")
    if use_labels:
        return data.classes
    if any("logits" in method.needs for method in methods) and taught is not None:
        return None if taught.logits is None else taught.logits.shape[1]
    return None
