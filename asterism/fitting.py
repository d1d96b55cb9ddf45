"""Do teacher, student, methods and data fit together? Asked before an hour is spent."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from asterism.data import Data
from asterism.evaluate.embedding import evaluating
from asterism.methods import KD, RKD
from asterism.methods.base import Method
from asterism.models import BUILT_IN, Spec, build
from asterism.run import load
from asterism.types import Outputs

Model = str | nn.Module | Callable[..., nn.Module]


def open_teacher(name: Model | None, data: Data) -> nn.Module | None:
    """Return the teacher: the student of an earlier run, or a model by name; None for None."""
    if name is None:
        return None
    if isinstance(name, str) and Path(name).is_dir():
        return load(name)
    teacher = build(name, Spec(data.classes, data.source.image_shape))
    if isinstance(name, str) and name.partition("?")[0] in BUILT_IN and "weights=" not in name:
        raise ValueError(f"the teacher {name} has no weights: name them, {name}?weights=FILE.")
    return teacher.eval()


def choose_methods(method: Method | Sequence[Method] | None, *, use_labels: bool) -> list[Method]:
    """Return the methods as a list; without any, what is known to work."""
    if method is None:
        if use_labels:
            return [RKD(distance_weight=25.0, angle_weight=50.0), KD()]
        return [RKD()]
    return [method] if isinstance(method, Method) else list(method)


@torch.no_grad()
def try_out(model: nn.Module, data: Data, role: str) -> Outputs:
    """Run two samples through a model, to see what it returns before an hour is spent."""
    shape = data.source.image_shape
    try:
        with evaluating(model):
            outputs = model(torch.rand(2, *shape))
    except (RuntimeError, IndexError, TypeError) as error:
        raise ValueError(f"the {role} cannot take images of shape {shape}: {error}.") from error
    if not isinstance(outputs, Outputs) or outputs.embedding.ndim != 2:
        raise ValueError(f"the {role} must return an embedding of shape (n, d) for each image.")
    return outputs


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
