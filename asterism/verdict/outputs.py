"""Outputs of a model on the data of a run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from asterism.data import Data, Loader, Order, Source
from asterism.measures import Affine
from asterism.measures.gallery import SEED
from asterism.relations import unit_rows
from asterism.settings import Distance
from asterism.teachers import Teacher, observed
from asterism.types import Outputs, Samples, as_input, join_outputs

# Training rows that probes, nearest-neighbour classifiers, maps and projections learn from.
LEARNING_ROWS = 5_000

# From rows and clean samples to outputs, float32 on the CPU.
Encode = Callable[[Tensor, Samples], Outputs]
EncodeOn = Callable[[Source], Encode]


def encoder_of(model: nn.Module) -> EncodeOn:
    """Return what gives a network's outputs on the samples of any source."""
    encode = partial(_outputs, model)
    return lambda source: encode


def _outputs(model: nn.Module, index: Tensor, samples: Samples) -> Outputs:
    return observed(model, samples)


def teaching(teacher: Teacher) -> EncodeOn:
    """Return what gives a teacher's outputs on the samples of a source that it knows."""
    return lambda source: teacher.on(source).clean


@dataclass(frozen=True)
class Rows:
    """A model's outputs on some rows of a source, in order.

    Attributes:
        outputs: Its outputs on clean samples.
        target: Their classes; None without labels.
        index: Which rows they are: those that could be read.
    """

    outputs: Outputs
    target: Tensor | None
    index: Tensor


def outputs_on(encode_on: EncodeOn, source: Source, rows: Tensor, *, workers: int = 0) -> Rows:
    """Return a model's outputs on all readable rows, on clean samples, in order.

    Args:
        encode_on: The model (`encoder_of`, `teaching`).
        source: The data.
        rows: Rows of it.
        workers: Processes that decode pictures.
    """
    encode = encode_on(source)
    outputs: list[Outputs] = []
    targets: list[Tensor] = []
    read: list[Tensor] = [torch.empty(0, dtype=torch.int64)]
    for batch in Loader(source, Order(rows, 256, seed=None), workers=workers):
        if batch.target is not None:
            targets.append(batch.target)
        if len(batch.index):
            read.append(batch.index)
            outputs.append(encode(batch.index, as_input(batch.views[0])))
    made = join_outputs(outputs) if outputs else Outputs(torch.empty(0, 0))
    return Rows(made, torch.cat(targets) if targets else None, torch.cat(read))


def as_compared(outputs: Outputs, metric: Distance) -> Outputs:
    """Return outputs whose Euclidean distances have the order of a metric: by cosine, unit rows."""
    if metric == "euclidean":
        return outputs
    return outputs._replace(embedding=unit_rows(outputs.embedding))


@dataclass(frozen=True)
class Observed:
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

    def without_scores(self) -> "Observed":
        """Return the embeddings alone."""
        outputs, learnt = Outputs(self.outputs.embedding), Outputs(self.learnt.embedding)
        return replace(self, outputs=outputs, learnt=learnt)

    def as_compared(self, metric: Distance) -> "Observed":
        """Return the outputs as a metric compares them (see `as_compared`)."""
        learnt = as_compared(self.learnt, metric)
        return replace(self, outputs=as_compared(self.outputs, metric), learnt=learnt)

    def mapped(self, affine: Affine) -> "Observed":
        """Return what a map of the embedding makes of it; it has no logits."""
        return Observed(
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


def observe(encode_on: EncodeOn, data: Data) -> Observed:
    """Run a model over the evaluation rows and the learning rows."""
    source, rows, _ = data.evaluation()
    measured = outputs_on(encode_on, source, rows)
    learnt = outputs_on(encode_on, data.source, learning_rows(data))
    return Observed(
        measured.outputs, measured.target, measured.index, learnt.outputs, learnt.target
    )
