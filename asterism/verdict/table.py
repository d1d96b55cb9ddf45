"""The measures by name, with group, unit and direction; the records of `result.json`.

docs/measures.md has the schema.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

from asterism.measures import Cost, Estimate, Fidelity, Health

Better = Literal["higher", "lower", "none"]
# Measured values by name and number of neighbours. Counts and times are plain numbers, without an
# interval.
Values = dict[tuple[str, int | None], float | None]

# Name: group, unit, which way is better. Shares are in per cent.
MEASURES: dict[str, tuple[str, str, Better]] = {
    "accuracy": ("task", "%", "higher"),
    "top-5 accuracy": ("task", "%", "higher"),
    "calibration error": ("task", "%", "lower"),
    "recall": ("task", "%", "higher"),
    "MAP@R": ("task", "%", "higher"),
    "recall, training classes": ("task", "%", "higher"),
    "MAP@R, training classes": ("task", "%", "higher"),
    "recall, new classes": ("task", "%", "higher"),
    "MAP@R, new classes": ("task", "%", "higher"),
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


def fidelity_values(measured: Fidelity) -> Values:
    """Return the values by name."""
    by_k: Values = {("neighbour overlap", k): x for k, x in measured.neighbour_overlap.items()}
    by_k |= {
        ("nearest neighbour found", k): x for k, x in measured.neighbour_recall.items() if k > 1
    }
    return {
        ("agreement", None): measured.agreement,
        ("divergence", None): measured.divergence,
        **by_k,
        ("trustworthiness", 10): measured.trustworthiness,
        ("continuity", 10): measured.continuity,
        ("distance correlation", None): measured.distance_correlation,
        ("distance error", None): measured.distance_error,
        ("angle error", None): measured.angle_error,
        ("linear CKA", None): measured.cka,
    }


def health_values(measured: Health) -> Values:
    """Return the values by name."""
    return {
        ("effective rank", None): measured.effective_rank,
        ("anisotropy", None): measured.anisotropy,
        ("dead dimensions", None): measured.dead_dimensions,
    }


def cost_values(measured: Cost) -> Values:
    """Return the values by name; `k` is the batch size of times."""
    values: Values = {
        ("parameters", None): measured.parameters,
        ("size", None): measured.bytes,
        ("operations", None): measured.flops,
        ("embedding width", None): measured.embedding_dim,
        ("index size", None): measured.index_bytes,
    }
    values |= {("latency", n): ms for n, ms in measured.latency_ms.items()}
    return values | {("throughput", n): rate for n, rate in measured.throughput.items()}


def as_plain(value: Any) -> Any:
    """Return estimates as plain numbers, in nested dictionaries."""
    if isinstance(value, dict):
        return {key: as_plain(each) for key, each in value.items()}
    return float(value) if isinstance(value, Estimate) else value


# Baselines answer for what can be had without distilling; costs and health they do not.
COMPARED = ("task", "fidelity")


def records(
    student: Values,
    teacher: Values,
    baselines: Mapping[str, Values],
    notes: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return one flat record per measure that the student, or the note, has something to say of.

    Args:
        student: Values of the student.
        teacher: Values of the teacher; empty without one.
        baselines: Values of each baseline, by its name.
        notes: By measure, what must be said about it in words.
    """
    table = []
    for name, (group, unit, better) in MEASURES.items():
        for key in (key for key in student if key[0] == name):
            value = student[key]
            if value is None and name not in notes:
                continue
            table.append(
                {
                    "group": group,
                    "name": name,
                    "k": key[1],
                    "unit": unit,
                    "better": better,
                    "student": _shown(value, unit),
                    "teacher": _shown(teacher.get(key), unit),
                    "baselines": {
                        who: _compared(value, values.get(key), unit, better)
                        for who, values in baselines.items()
                        if group in COMPARED and values.get(key) is not None
                    },
                    "note": notes.get(name),
                }
            )
    return table


def _shown(value: float | None, unit: str) -> dict[str, float | None] | None:
    if value is None:
        return None
    factor = 100.0 if unit == "%" else 1.0
    low, high = value.interval() if isinstance(value, Estimate) else (None, None)
    return {
        "value": value * factor,
        "low": None if low is None or not math.isfinite(low) else low * factor,
        "high": None if high is None or not math.isfinite(high) else high * factor,
    }


def _compared(
    student: float | None, baseline: float | None, unit: str, better: Better
) -> dict[str, Any]:
    shown: dict[str, Any] = {**(_shown(baseline, unit) or {}), "verdict": None, "difference": None}
    if isinstance(student, Estimate) and isinstance(baseline, Estimate):
        ends = student.minus(baseline).interval()
        shown["verdict"] = verdict(*ends, better=better)
        shown["difference"] = [end * (100.0 if unit == "%" else 1.0) for end in ends]
    return shown


def verdict(low: float, high: float, *, better: Better) -> str:
    """Say what the interval of a difference (student minus baseline) shows.

    Args:
        low: Lower end of the interval.
        high: Upper end.
        better: Which way is better.
    """
    if low <= 0 <= high:
        return "no different"
    return "better" if (low > 0) == (better == "higher") else "worse"
