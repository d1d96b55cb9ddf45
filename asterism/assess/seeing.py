"""What a model makes of the data of a run."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asterism.augment import as_input
from asterism.data import Data, KnownTeacher, Loader, Source
from asterism.data.loading import Order
from asterism.evaluate import Affine, collect, principal_components, random_projection
from asterism.evaluate.estimate import SEED
from asterism.types import Batch, Outputs

# Training rows that probes, nearest-neighbour classifiers, maps and projections learn from.
LEARNING_ROWS = 5_000


def outputs_of(
    model: nn.Module, source: Source, rows: Tensor, *, workers: int = 0
) -> tuple[Outputs, Tensor | None]:
    """Return a model's outputs and the labels of all readable rows, on clean samples, in order."""
    outputs, target, _ = outputs_on(model, source, rows, workers=workers)
    return outputs, target


def outputs_on(
    model: nn.Module, source: Source, rows: Tensor, *, workers: int = 0
) -> tuple[Outputs, Tensor | None, Tensor]:
    """Return what `outputs_of` returns, and which rows could be read."""
    targets: list[Tensor] = []
    read: list[Tensor] = [torch.empty(0, dtype=torch.int64)]

    def clean() -> Iterator[Batch]:
        for batch in Loader(source, Order(rows, 256, seed=None), workers=workers):
            if batch.target is not None:
                targets.append(batch.target)
            if len(batch.index):
                read.append(batch.index)
                yield Batch((as_input(batch.views[0]),), batch.index)

    if isinstance(model, KnownTeacher):
        for _ in clean():
            pass  # it has rows for samples that cannot be read, too
        outputs = model.on(source).of(torch.cat(read))
    else:
        outputs = collect(model, clean(), device_of(model))
    return outputs, torch.cat(targets) if targets else None, torch.cat(read)


def device_of(model: nn.Module) -> torch.device:
    """Return where a model is."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@dataclass(frozen=True)
class Seen:
    """A model's outputs on the samples that are measured and on some that may be learnt from.

    Attributes:
        outputs: On the evaluation rows.
        target: Their classes; None without labels.
        index: Which rows of the source they are: those that could be read.
        learnt: On the learning rows.
        learnt_target: Their classes.
    """

    outputs: Outputs
    target: Tensor | None
    index: Tensor
    learnt: Outputs
    learnt_target: Tensor | None

    def mapped(self, affine: Affine) -> "Seen":
        """Return what a map of the embedding makes of it; it has no logits."""
        return Seen(
            Outputs(affine(self.outputs.embedding)),
            self.target,
            self.index,
            Outputs(affine(self.learnt.embedding)),
            self.learnt_target,
        )


def learning_rows(data: Data) -> Tensor:
    """Return the training rows that are learnt from, all or a draw by seed."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(SEED))
    return data.train if len(order) <= LEARNING_ROWS else data.train[order[:LEARNING_ROWS]]


def see(model: nn.Module, data: Data) -> Seen:
    """Run a model over the evaluation rows and the learning rows."""
    source, rows, _ = data.evaluation()
    return Seen(
        *outputs_on(model, source, rows), *outputs_of(model, data.source, learning_rows(data))
    )


def reductions(teacher: Seen, width: int) -> dict[str, Seen]:
    """Return the teacher's embedding brought to a width without training anything."""
    learnt = teacher.learnt.embedding
    return {
        "pca": teacher.mapped(principal_components(learnt, width)),
        "random projection": teacher.mapped(random_projection(learnt.shape[1], width)),
    }
