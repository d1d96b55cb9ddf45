"""Measures of a model on the labels: classification, retrieval, k-NN, linear probe."""

from dataclasses import asdict, dataclass
from typing import Any

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


def task(observed: Observed, classes: int | None, rows: Tensor) -> Task | None:
    """Measure what the labels ask of a model; None without labels.

    Args:
        observed: The model's outputs.
        classes: Number of classes of the data.
        rows: Which samples are queries of the retrieval.
    """
    if observed.target is None:
        return None
    outputs = observed.outputs
    target = observed.target
    classified = sure = knn = probe = None
    if outputs.logits is not None and classes == outputs.logits.shape[1]:
        classified = classification(outputs.logits, target)
        sure = calibration_error(outputs.logits, target)
    if observed.learnt_target is not None:
        splits = observed.learnt.embedding, observed.learnt_target, outputs.embedding, target
        knn = knn_accuracy(*splits)
        probe = linear_probe(*splits)
    retrieved = retrieval(outputs.embedding, target, ks=KS, rows=rows)
    return Task(classified, sure, retrieved, knn, probe)
