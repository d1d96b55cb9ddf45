"""Measures of a model on the labels: classification, retrieval, k-NN, linear probe."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from asterism.measures import (
    Classification,
    Estimate,
    Retrieval,
    calibration_error,
    classification,
    knn_accuracy,
    linear_probe,
    retrieval,
)
from asterism.verdict.new_classes import NewClasses
from asterism.verdict.outputs import Observed
from asterism.verdict.table import Notes, Values, as_plain

T = TypeVar("T")
KS = (1, 5, 10)
# What is added to a measure's name for samples of one kind.
KNOWN, NEW = ", training classes", ", new classes"
# A share that chance alone brings so high is told beside it.
HIGH_CHANCE = 0.2


@dataclass(frozen=True)
class Task:
    """How well a model does the task of the labels; see the functions of `asterism.measures`.

    Attributes:
        classification: On the samples of the training data's classes, as the next three.
        calibration_error: Of its classifier.
        retrieval: On all samples, each searched among all others.
        knn: By the nearest training rows.
        probe: By a linear classifier of training rows.
        parts: The retrieval of samples of the training data's classes and of new classes, by name,
            where there are both; all are searched.
    """

    classification: Classification | None
    calibration_error: Estimate | None
    retrieval: Retrieval
    knn: Estimate | None
    probe: Estimate | None
    parts: Mapping[str, Retrieval] = field(default_factory=dict)

    def values(self) -> Values:
        """Return the values by name."""
        sure = self.classification or Classification(None, None)
        found: Values = {}
        for name, retrieved in {"": self.retrieval, **self.parts}.items():
            found |= {(f"recall{name}", k): value for k, value in retrieved.recall.items()}
            found[f"MAP@R{name}", None] = retrieved.map_at_r
        return {
            ("accuracy", None): sure.top1,
            ("top-5 accuracy", None): sure.top5,
            ("calibration error", None): self.calibration_error,
            **found,
            ("k-NN accuracy", None): self.knn,
            ("linear probe", None): self.probe,
        }

    def notes(self, target: Tensor, rows: Tensor) -> Notes:
        """Return why a measure is undefined, over how many queries it is, and what chance gives.

        Args:
            target: Classes of the samples.
            rows: Which of them are queries.
        """
        said = Notes()
        _, number, sizes = torch.unique(target, return_inverse=True, return_counts=True)
        partners = sizes[number[rows]] - 1
        found = int((partners > 0).sum())
        others = len(target) - 1
        if not found:
            why = f"Not measured: none of the {len(rows)} queries has another row of its class."
            return said | {"recall": why, "MAP@R": why}
        if found < len(rows):
            over = (
                f"Over {found} of {len(rows)} queries: the rest have no other row of their class."
            )
            said |= {"recall": over, "MAP@R": over}
        for k in self.retrieval.recall:
            if k >= others:
                said["recall", k] = f"Not measured: {k} neighbours are all that there are."
                continue
            chance = 1 - float(_missed(partners[partners > 0], others, k).mean())
            if chance >= HIGH_CHANCE:
                by_chance = f"By chance {100 * chance:.0f} %."
                said["recall", k] = f"{said.get('recall', '')} {by_chance}".strip()
        return said

    def plain(self) -> dict[str, Any]:
        """Return plain numbers in the nested form that tables on the screen read."""
        sure = self.classification
        return {
            **({} if sure is None else {"classification": as_plain(asdict(sure))}),
            "retrieval": as_plain(asdict(self.retrieval)),
            "knn": as_plain(self.knn),
            "probe": as_plain(self.probe),
        }


class Tried(Protocol):
    """Takes a measure by its name; None if it fails."""

    def __call__(self, name: str, measure: Callable[[], T]) -> T | None:
        """Return what the measure gives."""


def task(
    observed: Observed,
    classes: int | None,
    rows: Tensor,
    tried: Tried,
    new: NewClasses | None = None,
) -> Task | None:
    """Measure what the labels ask of a model; None without labels.

    Args:
        observed: The model's outputs.
        classes: Number of classes of the training data.
        rows: Which samples are queries of the retrieval.
        tried: What takes each measure.
        new: Which samples are of classes that the training data lack.
    """
    target = observed.target
    if target is None:
        return None
    embedding, logits = observed.outputs
    nothing = Retrieval(dict.fromkeys(KS), None, None)

    def searched(queries: Tensor, name: str = "") -> Retrieval:
        measure = partial(retrieval, embedding, target, ks=KS, rows=queries)
        return tried(f"recall{name}", measure) or nothing

    parts = {}
    if new is not None and not new.only:
        kinds = {KNOWN: new.known[rows], NEW: ~new.known[rows]}
        parts = {name: searched(rows[kind], name) for name, kind in kinds.items()}
    retrieved = searched(rows)
    if new is None:
        known = embedding, logits, target
    else:  # what follows is of the training data's classes
        scores = None if logits is None else logits[new.known]
        known = embedding[new.known], scores, target[new.known]
    classified, sure, knn, probe = _classified(observed, *known, classes, tried)
    return Task(classified, sure, retrieved, knn, probe, parts)


def _classified(
    observed: Observed,
    embedding: Tensor,
    logits: Tensor | None,
    target: Tensor,
    classes: int | None,
    tried: Tried,
) -> tuple[Classification | None, Estimate | None, Estimate | None, Estimate | None]:
    """Return what needs the training data's classes; nothing without a sample of one."""
    classified = sure = knn = probe = None
    if len(target) and logits is not None and classes == logits.shape[1]:
        classified = tried("accuracy", partial(classification, logits, target))
        sure = tried("calibration error", partial(calibration_error, logits, target))
    if len(target) and observed.learnt_target is not None:
        splits = observed.learnt.embedding, observed.learnt_target, embedding, target
        knn = tried("k-NN accuracy", partial(knn_accuracy, *splits))
        probe = tried("linear probe", partial(linear_probe, *splits))
    return classified, sure, knn, probe


def _missed(partners: Tensor, others: int, k: int) -> Tensor:
    """Return how often none of the partners is among k neighbours drawn at random."""
    strangers = others - partners.double()
    drawn = torch.arange(k)
    return ((strangers[:, None] - drawn).clamp_min(0) / (others - drawn)).prod(1)
