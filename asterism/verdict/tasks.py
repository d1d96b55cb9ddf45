"""Measures of a model on the labels: classification, retrieval, k-NN, linear probe."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

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
from asterism.verdict.outputs import Observed
from asterism.verdict.table import Values, as_plain

T = TypeVar("T")
KS = (1, 5, 10)


@dataclass(frozen=True)
class Task:
    """How well a model does the task of the labels; see the functions of `asterism.measures`."""

    classification: Classification | None
    calibration_error: Estimate | None
    retrieval: Retrieval
    knn: Estimate | None
    probe: Estimate | None

    def values(self) -> Values:
        """Return the values by name."""
        sure = self.classification or Classification(None, None)
        recall: Values = {("recall", k): value for k, value in self.retrieval.recall.items()}
        return {
            ("accuracy", None): sure.top1,
            ("top-5 accuracy", None): sure.top5,
            ("calibration error", None): self.calibration_error,
            **recall,
            ("MAP@R", None): self.retrieval.map_at_r,
            ("k-NN accuracy", None): self.knn,
            ("linear probe", None): self.probe,
        }

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


def task(observed: Observed, classes: int | None, rows: Tensor, tried: Tried) -> Task | None:
    """Measure what the labels ask of a model; None without labels.

    Args:
        observed: The model's outputs.
        classes: Number of classes of the data.
        rows: Which samples are queries of the retrieval.
        tried: What takes each measure.
    """
    target = observed.target
    if target is None:
        return None
    embedding, logits = observed.outputs
    classified = sure = knn = probe = None
    if logits is not None and classes == logits.shape[1]:
        classified = tried("accuracy", partial(classification, logits, target))
        sure = tried("calibration error", partial(calibration_error, logits, target))
    if observed.learnt_target is not None:
        splits = observed.learnt.embedding, observed.learnt_target, embedding, target
        knn = tried("k-NN accuracy", partial(knn_accuracy, *splits))
        probe = tried("linear probe", partial(linear_probe, *splits))
    retrieved = tried("recall", partial(retrieval, embedding, target, ks=KS, rows=rows))
    nothing = Retrieval(dict.fromkeys(KS), None, None)
    return Task(classified, sure, retrieved or nothing, knn, probe)
