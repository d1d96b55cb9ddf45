"""The measures by name, with group, unit and direction; the records of `result.json`.

docs/measures.md has the schema.
"""

import math
from collections.abc import Mapping
from typing import Any

from asterism.measures import Cost, Estimate, Fidelity, Health
from asterism.verdict.looks import Better, Look, verdicts
from asterism.words import readable

# A measure, and its number of neighbours or batch size.
Key = tuple[str, int | None]
# Measured values. Counts and times are plain numbers, without an interval.
Values = dict[Key, float | None]
# What must be said of a measure in words, of one number of neighbours or of all.
Notes = dict[str | Key, str]

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
    "recall@1 by first columns": ("task", "%", "higher"),
    "ten neighbours kept by first columns": ("fidelity", "%", "higher"),
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


def cost_notes(costs: Mapping[str, Cost]) -> Notes:
    """Return how times were taken, and how far they spread, for each batch size."""
    own, teacher = costs.get("student"), costs.get("teacher")
    notes = Notes()
    for n in own.quartiles_ms if own is not None else ():
        assert own is not None
        said = f"Median of {own.passes} passes, warmed up, on {readable(own.machine)}; half of "
        said += f"them took {_span(own.quartiles_ms[n])} ms"
        if teacher is not None and n in teacher.quartiles_ms:
            said += f", of the teacher's {_span(teacher.quartiles_ms[n])}"
        elif teacher is not None and teacher.machine and n not in teacher.latency_ms:
            said += f". The teacher's were taken on {readable(teacher.machine)}"
            said += (
                ", which is not this" if teacher.machine != own.machine else ", of other batches"
            )
        notes["latency", n] = f"{said}."
    return notes


def _span(ends: tuple[float, float]) -> str:
    return " to ".join(f"{end:.3g}" for end in ends)


def as_plain(value: Any) -> Any:
    """Return estimates as plain numbers, in nested dictionaries."""
    if isinstance(value, dict):
        return {key: as_plain(each) for key, each in value.items()}
    return float(value) if isinstance(value, Estimate) else value


# Baselines answer for what can be had without distilling; costs and health they do not.
COMPARED = ("task", "fidelity")
# Where a baseline says nothing. Untrained classifiers give all classes about the same probability,
# so they are calibrated, and near to any unsure teacher, without having learnt anything.
TRIVIAL = {("untrained", "calibration error"), ("untrained", "divergence")}
# The measure named beforehand: the first of these that there is.
PRIMARIES: tuple[Key, ...] = (("accuracy", None), ("recall", 1), ("neighbour overlap", 10))
# Gaps that nobody would care about, by unit: one point, 0.01. Errors have no such scale.
MARGINS = {"%": 0.01, "": 0.01, "nats": 0.01}
NO_MARGIN = ("distance error", "angle error")


def records(
    student: Values,
    teacher: Values,
    baselines: Mapping[str, Values],
    notes: Notes,
) -> list[dict[str, Any]]:
    """Return one flat record per measure that the student, or the note, has something to say of.

    Args:
        student: Values of the student.
        teacher: Values of the teacher; empty without one.
        baselines: Values of each baseline, by its name.
        notes: What must be said about measures in words.
    """
    keys = [key for name in MEASURES for key in student if key[0] == name]
    primary = primary_of(student)
    looks = {
        (who, key): Look(own.minus(other), MEASURES[key[0]][2], margin_of(key), key == primary)
        for key in keys
        for who, values in baselines.items()
        if MEASURES[key[0]][0] in COMPARED
        and (who, key[0]) not in TRIVIAL
        and isinstance(own := student[key], Estimate)
        and isinstance(other := values.get(key), Estimate)
    }
    told = dict(zip(looks, verdicts(list(looks.values())), strict=True))
    table = []
    for key in keys:
        name, k = key
        group, unit, better = MEASURES[name]
        note = notes.get(key, notes.get(name))
        if student[key] is None and note is None:
            continue
        table.append(
            {
                "group": group,
                "name": name,
                "k": k,
                "unit": unit,
                "better": better,
                "primary": key == primary,
                "student": _shown(student[key], unit),
                "teacher": _shown(teacher.get(key), unit),
                "beside_teacher": _beside(student[key], teacher.get(key), unit)
                if group in COMPARED
                else None,
                "baselines": {
                    who: {
                        **(_shown(values[key], unit) or {}),
                        "verdict": told.get((who, key)),
                        **_gap(looks.get((who, key)), unit),
                    }
                    for who, values in baselines.items()
                    if group in COMPARED and values.get(key) is not None
                },
                "note": note,
            }
        )
    return table


def primary_of(student: Values) -> Key | None:
    """Return the measure that a report is about: the task's, or without labels the overlap."""
    return next((key for key in PRIMARIES if student.get(key) is not None), None)


def margin_of(key: Key) -> float | None:
    """Return a gap in a measure that nobody would care about; None where there is no scale."""
    return None if key[0] in NO_MARGIN else MARGINS.get(MEASURES[key[0]][1])


def _shown(value: float | None, unit: str) -> dict[str, float | int | None] | None:
    if value is None:
        return None
    factor = 100.0 if unit == "%" else 1.0
    if not isinstance(value, Estimate):
        return {"value": value * factor, "low": None, "high": None}
    low, high = _ends(value, unit)
    return {"value": value * factor, "low": low, "high": high, "count": value.count}


def _ends(value: Estimate, unit: str) -> list[float | None]:
    """Return the ends of the interval; no share differs from another by more than all."""
    ends = [end if math.isfinite(end) else None for end in value.interval()]
    if unit != "%":
        return ends
    return [None if end is None else 100 * min(1.0, max(-1.0, end)) for end in ends]


def _beside(student: float | None, teacher: float | None, unit: str) -> list[float | None] | None:
    """Return the ends of the interval of student minus teacher."""
    if not isinstance(student, Estimate) or not isinstance(teacher, Estimate):
        return None
    return _ends(student.minus(teacher), unit)


def _gap(look: Look | None, unit: str) -> dict[str, Any]:
    if look is None:
        return {"difference": None, "rows_to_tell": None}
    return {"difference": _ends(look.gap, unit), "rows_to_tell": look.rows_to_tell}
