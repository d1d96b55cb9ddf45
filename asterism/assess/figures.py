"""The figures of one model, by name: what is measured, in which unit, and which way is better."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from asterism.assess.seeing import Seen
from asterism.evaluate import (
    Classification,
    Cost,
    Estimate,
    Fidelity,
    Health,
    Retrieval,
    calibration_error,
    classification,
    knn_accuracy,
    linear_probe,
    retrieval,
)

Better = Literal["higher", "lower", "none"]
# By name and number of neighbours. Counts and times are plain numbers, without an interval.
Figures = dict[tuple[str, int | None], float | None]

# Name: group, unit, which way is better. Shares are in per cent.
MEASURES: dict[str, tuple[str, str, Better]] = {
    "accuracy": ("task", "%", "higher"),
    "top-5 accuracy": ("task", "%", "higher"),
    "calibration error": ("task", "%", "lower"),
    "recall": ("task", "%", "higher"),
    "MAP@R": ("task", "%", "higher"),
    "k-NN accuracy": ("task", "%", "higher"),
    "linear probe": ("task", "%", "higher"),
    "agreement": ("fidelity", "%", "higher"),
    "divergence": ("fidelity", "nats", "lower"),
    "neighbour overlap": ("fidelity", "%", "higher"),
    "nearest neighbour found": ("fidelity", "%", "higher"),
    "trustworthiness": ("fidelity", "", "higher"),
    "continuity": ("fidelity", "", "higher"),
    "distance correlation": ("fidelity", "", "higher"),
    "distance error": ("fidelity", "", "lower"),
    "angle error": ("fidelity", "", "lower"),
    "linear CKA": ("fidelity", "", "higher"),
    "effective rank": ("health", "directions", "none"),
    "anisotropy": ("health", "", "none"),
    "dead dimensions": ("health", "columns", "lower"),
    "worst class": ("health", "%", "higher"),
    "own item, as it is": ("compatibility", "%", "higher"),
    "own item, rotated": ("compatibility", "%", "higher"),
    "own item, linear map": ("compatibility", "%", "higher"),
    "same class, as it is": ("compatibility", "%", "higher"),
    "same class, rotated": ("compatibility", "%", "higher"),
    "same class, linear map": ("compatibility", "%", "higher"),
    "parameters": ("cost", "", "lower"),
    "size": ("cost", "bytes", "lower"),
    "operations": ("cost", "FLOPs", "lower"),
    "latency": ("cost", "ms", "lower"),
    "throughput": ("cost", "samples/s", "higher"),
    "embedding width": ("cost", "columns", "lower"),
    "index size": ("cost", "bytes per million", "lower"),
}
KS = (1, 5, 10)


@dataclass(frozen=True)
class Task:
    """How well a model does the task of the labels; see the functions of `asterism.evaluate`."""

    classification: Classification | None
    calibration_error: Estimate | None
    retrieval: Retrieval
    knn: Estimate | None
    probe: Estimate | None

    def figures(self) -> Figures:
        """Return the figures by name."""
        sure = self.classification or Classification(None, None)
        recall: Figures = {("recall", k): value for k, value in self.retrieval.recall.items()}
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
            **({} if sure is None else {"classification": as_values(asdict(sure))}),
            "retrieval": as_values(asdict(self.retrieval)),
            "knn": as_values(self.knn),
            "probe": as_values(self.probe),
        }


def task(seen: Seen, classes: int | None, rows: Tensor) -> Task | None:
    """Measure what the labels ask of a model; None without labels.

    Args:
        seen: The model's outputs.
        classes: Number of classes of the data.
        rows: Which samples are queries of the retrieval.
    """
    if seen.target is None:
        return None
    outputs, target = seen.outputs, seen.target
    classified = sure = knn = probe = None
    if outputs.logits is not None and classes == outputs.logits.shape[1]:
        classified = classification(outputs.logits, target)
        sure = calibration_error(outputs.logits, target)
    if seen.learnt_target is not None:
        splits = seen.learnt.embedding, seen.learnt_target, outputs.embedding, target
        knn, probe = knn_accuracy(*splits), linear_probe(*splits)
    found = retrieval(outputs.embedding, target, ks=KS, rows=rows)
    return Task(classified, sure, found, knn, probe)


def fidelity_figures(found: Fidelity) -> Figures:
    """Return the figures by name."""
    by_k: Figures = {("neighbour overlap", k): x for k, x in found.neighbour_overlap.items()}
    by_k |= {("nearest neighbour found", k): x for k, x in found.neighbour_recall.items() if k > 1}
    return {
        ("agreement", None): found.agreement,
        ("divergence", None): found.divergence,
        **by_k,
        ("trustworthiness", 10): found.trustworthiness,
        ("continuity", 10): found.continuity,
        ("distance correlation", None): found.distance_correlation,
        ("distance error", None): found.distance_error,
        ("angle error", None): found.angle_error,
        ("linear CKA", None): found.cka,
    }


def health_figures(found: Health) -> Figures:
    """Return the figures by name."""
    return {
        ("effective rank", None): found.effective_rank,
        ("anisotropy", None): found.anisotropy,
        ("dead dimensions", None): found.dead_dimensions,
    }


def cost_figures(found: Cost) -> Figures:
    """Return the figures by name; `k` is the batch size of times."""
    figures: Figures = {
        ("parameters", None): found.parameters,
        ("size", None): found.bytes,
        ("operations", None): found.flops,
        ("embedding width", None): found.embedding_dim,
        ("index size", None): found.index_bytes,
    }
    figures |= {("latency", n): ms for n, ms in found.latency_ms.items()}
    return figures | {("throughput", n): rate for n, rate in found.throughput.items()}


def as_values(found: Any) -> Any:
    """Return estimates as plain numbers, in nested dictionaries."""
    if isinstance(found, dict):
        return {key: as_values(value) for key, value in found.items()}
    return float(found) if isinstance(found, Estimate) else found
