"""The measures of a run whose result.json has no list of them: written by an older version."""

from collections.abc import Mapping
from typing import Any

_WHERE = (
    ("task", "accuracy", None, "%", "higher", ("classification", "top1")),
    ("task", "recall", 1, "%", "higher", ("retrieval", "recall", "1")),
    ("task", "recall", 10, "%", "higher", ("retrieval", "recall", "10")),
    ("task", "MAP@R", None, "%", "higher", ("retrieval", "map_at_r")),
    ("task", "k-NN accuracy", None, "%", "higher", ("knn",)),
    ("task", "linear probe", None, "%", "higher", ("probe",)),
    ("fidelity", "agreement", None, "%", "higher", ("fidelity", "agreement")),
    ("fidelity", "neighbour overlap", 1, "%", "higher", ("fidelity", "neighbour_overlap", "1")),
    ("fidelity", "neighbour overlap", 10, "%", "higher", ("fidelity", "neighbour_overlap", "10")),
    ("fidelity", "distance correlation", None, "", "higher", ("fidelity", "distance_correlation")),
    ("cost", "parameters", None, "", "lower", ("cost", "parameters")),
    ("cost", "size", None, "bytes", "lower", ("cost", "bytes")),
    ("cost", "embedding width", None, "", "lower", ("cost", "embedding_dim")),
    ("cost", "latency", 1, "ms", "lower", ("cost", "latency_ms", "1")),
    ("cost", "latency", 64, "ms", "lower", ("cost", "latency_ms", "64")),
)


def older_measures(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what there is of student and teacher as records, without intervals or baselines."""
    student = {**result["student"], "fidelity": result.get("fidelity")}
    records = []
    for group, name, k, unit, better, path in _WHERE:
        sides = {"student": _at(student, path), "teacher": _at(result.get("teacher"), path)}
        if sides["student"] is not None:
            factor = 100 if unit == "%" else 1
            estimates = {w: None if v is None else {"value": factor * v} for w, v in sides.items()}
            record = {"group": group, "name": name, "k": k, "unit": unit, "better": better}
            records.append({**record, **estimates})
    return records


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
