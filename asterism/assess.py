"""What is measured at the end of a run, of the student and of its teacher."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from asterism.augment import as_input
from asterism.data import Data, Loader, Source, StoredTeacher
from asterism.data.loading import Order
from asterism.engine import Score
from asterism.evaluate import (
    classification,
    collect,
    cost,
    fidelity,
    knn_accuracy,
    linear_probe,
    retrieval,
)
from asterism.types import Batch, Outputs, Samples

# Training rows that the probe and the nearest-neighbour classifier learn from.
PROBE_ROWS = 5_000


def outputs_of(
    model: nn.Module, source: Source, rows: Tensor, *, workers: int = 0
) -> tuple[Outputs, Tensor | None]:
    """Return a model's outputs and the labels of all readable rows, clean, in order."""
    targets: list[Tensor] = []

    def clean() -> Iterator[Batch]:
        for batch in Loader(source, Order(rows, 256, seed=None), workers=workers):
            if batch.target is not None:
                targets.append(batch.target)
            if len(batch.index):
                yield Batch((as_input(batch.views[0]),), batch.index)

    if isinstance(model, StoredTeacher):
        seen = torch.cat([batch.index for batch in clean()])
        outputs = model.attach(source).of(seen)
    else:
        outputs = collect(model, clean(), _device(model))
    return outputs, torch.cat(targets) if targets else None


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def assess(student: nn.Module, teacher: nn.Module | None, data: Data) -> dict[str, Any]:
    """Measure the student, and the teacher beside it, on test data or else on validation rows.

    Args:
        student: The trained student.
        teacher: Its teacher, or None.
        data: The data of the run.

    Returns:
        Plain values: `split`, `rows`, `student` and `teacher` (each with `classification`,
        `retrieval`, `knn`, `probe` where there are labels, and `cost`) and `fidelity`.
    """
    source, rows, split = data.evaluation()
    learning = data.train
    if len(learning) > PROBE_ROWS:
        order = torch.randperm(len(learning), generator=torch.Generator().manual_seed(0))
        learning = learning[order[:PROBE_ROWS]]
    outputs, target = outputs_of(student, source, rows)
    found: dict[str, Any] = {"split": split, "rows": len(outputs.embedding)}
    found["student"] = _measure(student, outputs, target, data, learning)
    # A teacher that is only its outputs may have none for other data than the training data.
    if teacher is not None and not (
        isinstance(teacher, StoredTeacher) and not teacher.knows(source)
    ):
        taught, _ = outputs_of(teacher, source, rows)
        found["fidelity"] = asdict(fidelity(outputs, taught))
        found["teacher"] = _measure(teacher, taught, target, data, learning)
    return found


def _example(data: Data, device: torch.device) -> Samples:
    """Return what speed is measured on: an image, or texts of all lengths that there are."""
    if data.source.image_shape is not None:
        return torch.zeros(1, *data.source.image_shape, device=device)
    return data.source.__getitems__(data.train[:64].tolist()).views[0]


def _measure(
    model: nn.Module,
    outputs: Outputs,
    target: Tensor | None,
    data: Data,
    learning: Tensor,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not isinstance(model, StoredTeacher):
        found["cost"] = asdict(cost(model, _example(data, _device(model))))
    if target is None:
        return found
    if outputs.logits is not None and data.classes == outputs.logits.shape[1]:
        found["classification"] = asdict(classification(outputs.logits, target))
    found["retrieval"] = asdict(retrieval(outputs.embedding, target))
    known, known_target = outputs_of(model, data.source, learning)
    if known_target is not None:
        splits = known.embedding, known_target, outputs.embedding, target
        found["knn"] = knn_accuracy(*splits)
        found["probe"] = linear_probe(*splits)
    return found


def selection(teacher: nn.Module | None, data: Data, *, use_labels: bool) -> Score:
    """Return what selects the best epoch: accuracy, or without labels the teacher's neighbours."""
    if use_labels or teacher is None:

        def accuracy(outputs: Outputs, target: Tensor | None) -> dict[str, float]:
            if outputs.logits is None or target is None:
                raise ValueError("the validation data have no labels: give some that have.")
            return {"accuracy": classification(outputs.logits, target).top1 or 0.0}

        return accuracy
    source = data.validation_source or data.source
    taught, _ = outputs_of(teacher, source, data.validation)

    def overlap(outputs: Outputs, target: Tensor | None) -> dict[str, float]:
        found = fidelity(Outputs(outputs.embedding), Outputs(taught.embedding), ks=(10,))
        return {"overlap@10": found.neighbour_overlap[10] or 0.0}

    return overlap
