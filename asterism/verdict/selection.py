"""The measure by which the best epoch of a training is selected."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.data import Data
from asterism.engine import Score
from asterism.measures import classification, neighbourhoods, retrieval
from asterism.settings import Distance
from asterism.teachers import Teacher
from asterism.types import Outputs
from asterism.verdict.outputs import as_compared, outputs_on, teaching

# Neighbours of the teacher's that the student may share.
NEIGHBOURS = 10


def selection(
    teacher: Teacher | None,
    data: Data,
    *,
    use_labels: bool,
    of_scores: bool = True,
    metric: Distance = "euclidean",
) -> Score:
    """Return what selects the best epoch.

    Accuracy; recall where no scores are trained, or validation rows have classes that no training
    row has; without labels the teacher's neighbours.

    Args:
        teacher: The teacher, or None.
        data: The data.
        use_labels: Whether labels are part of the objective.
        of_scores: Whether the loss with them is of a classifier's scores.
        metric: By what neighbours are found.
    """
    if use_labels or teacher is None:
        if of_scores and not data.selects_by_new_classes:
            return accuracy
        return lambda outputs, target: recall(as_compared(outputs, metric), target)
    source = data.validation_source or data.source
    taught = outputs_on(teaching(teacher), source, data.validation).outputs
    overlap = Overlap(as_compared(taught, metric).embedding)
    return lambda outputs, target: overlap(as_compared(outputs, metric), target)


def guessed(data: Data, *, of_labels: bool) -> float:
    """Return what a guess may reach of the score on the validation rows: two deviations above it.

    Args:
        data: The data.
        of_labels: Whether the score is of labels, and not of the teacher's neighbours.
    """
    source, rows = data.validation_source or data.source, len(data.validation)
    chance = min(1.0, NEIGHBOURS / max(1, rows - 1))
    if of_labels:
        if source.targets is None or not rows:
            return -math.inf
        # Always the largest class; that whose neighbours are drawn finds no more.
        counts = torch.unique(source.targets[data.validation], return_counts=True)[1]
        chance = float(counts.max()) / rows
    return chance + 2 * math.sqrt(chance * (1 - chance) / max(1, rows))


def accuracy(outputs: Outputs, target: Tensor | None) -> dict[str, float]:
    """Return the share of samples whose own class has the highest score."""
    if outputs.logits is None or target is None:
        raise ValueError("the validation data have no labels: give some that have.")
    return {"accuracy": float(classification(outputs.logits, target).top1 or 0.0)}


def recall(outputs: Outputs, target: Tensor | None) -> dict[str, float]:
    """Return the share of samples whose nearest neighbour is of their class."""
    if target is None:
        raise ValueError("the validation data have no labels: give some that have.")
    return {"recall@1": float(retrieval(outputs.embedding, target, ks=[1]).recall[1] or 0.0)}


@dataclass(frozen=True)
class Overlap:
    """The share of the teacher's ten nearest neighbours that the student shares.

    Attributes:
        teacher: The teacher's embeddings of the validation rows.
    """

    teacher: Tensor

    def __call__(self, outputs: Outputs, target: Tensor | None) -> dict[str, float]:
        """Compare the student's neighbours with the teacher's."""
        near = neighbourhoods(outputs.embedding, self.teacher, k=NEIGHBOURS)
        return {f"overlap@{NEIGHBOURS}": float(near.overlap(NEIGHBOURS).mean())}
