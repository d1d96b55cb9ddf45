"""The figures of one model, by name: what is measured, in which unit, and which way is better."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
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
    compatibility,
    knn_accuracy,
    linear_probe,
    procrustes,
    retrieval,
    ridge,
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


def compatibility_figures(
    student: Seen, teacher: Seen, rows: Tensor
) -> tuple[Figures, dict[str, str]]:
    """Search the teacher's index with the student, as it is and mapped.

    Returns:
        The figures, and by name what must be said about them in words.
    """
    ks = (1, 10)
    learnt = student.learnt.embedding, teacher.learnt.embedding
    queries: dict[str, Tensor | None] = dict.fromkeys(("as it is", "rotated", "linear map"))
    widths = [x.shape[1] for x in learnt]
    if widths[0] == widths[1]:
        queries["as it is"] = student.outputs.embedding
    if len(learnt[0]):
        for way, fit in (("rotated", procrustes), ("linear map", ridge)):
            queries[way] = fit(*learnt)(student.outputs.embedding)
    index, figures, notes = teacher.outputs.embedding, Figures(), dict[str, str]()
    for way, query in queries.items():
        item, alike = f"own item, {way}", f"same class, {way}"
        if query is None:
            figures |= {(name, k): None for name in (item, alike) for k in ks}
            notes[item] = notes[alike] = (
                f"The student has {widths[0]} columns and the teacher {widths[1]}: without a map "
                "the one cannot search the index of the other (asterism align fits one)."
            )
            continue
        found = compatibility(query.to(index.dtype), index, teacher.target, ks=ks, rows=rows)
        figures |= {(item, k): x for k, x in found.item_recall.items()}
        figures |= {(alike, k): x for k, x in (found.class_recall or {}).items()}
        top, chance = found.item_recall[1], 1 / max(1, len(index))
        if way == "as it is" and top is not None and top < 5 * chance:
            notes[item] = (
                f"This is chance ({100 * chance:.2g} %): relations do not fix where the student "
                "puts things, only how they lie to each other. To search the teacher's index, fit "
                "a map (asterism align)."
            )
    return figures, notes


def worst_class(
    student: Estimate, teacher: Estimate | None, target: Tensor, names: tuple[str, ...]
) -> tuple[Figures, Figures, str] | None:
    """Return the figures of the class that lost most against the teacher, or is worst alone.

    Args:
        student: A figure of the student that is the mean of a score per sample.
        teacher: The same of the teacher.
        target: Classes of those samples.
        names: Names of the classes.
    """
    from asterism.evaluate import mean_of

    loss = student.scores if teacher is None else student.scores - teacher.scores
    present = torch.unique(target)
    if not len(present):
        return None
    means = torch.stack([loss[target == c].mean() for c in present])
    chosen = target == present[means.argmin()]

    def within(scores: Tensor) -> Figures:
        return {("worst class", None): mean_of(torch.where(chosen, scores, torch.nan))}

    name = names[int(present[means.argmin()])]
    return within(student.scores), {} if teacher is None else within(teacher.scores), name


def as_values(found: Any) -> Any:
    """Return estimates as plain numbers, in nested dictionaries."""
    if isinstance(found, dict):
        return {key: as_values(value) for key, value in found.items()}
    return float(found) if isinstance(found, Estimate) else found
