"""From figures to the records of `result.json` (docs/measures.md has the schema)."""

import math
from collections.abc import Mapping
from typing import Any

from asterism.assess.figures import MEASURES, Better, Figures
from asterism.evaluate import Estimate

# Baselines answer for what can be had without distilling; costs and health they do not.
COMPARED = ("task", "fidelity")


def records(
    student: Figures,
    teacher: Figures,
    baselines: Mapping[str, Figures],
    notes: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return one flat record per measure that the student, or the note, has something to say of.

    Args:
        student: Figures of the student.
        teacher: Figures of the teacher; empty without one.
        baselines: Figures of each baseline, by its name.
        notes: By measure, what must be said about it in words.
    """
    found = []
    for name, (group, unit, better) in MEASURES.items():
        for key in (key for key in student if key[0] == name):
            value = student[key]
            if value is None and name not in notes:
                continue
            found.append(
                {
                    "group": group,
                    "name": name,
                    "k": key[1],
                    "unit": unit,
                    "better": better,
                    "student": _shown(value, unit),
                    "teacher": _shown(teacher.get(key), unit),
                    "baselines": {
                        who: _compared(value, figures.get(key), unit, better)
                        for who, figures in baselines.items()
                        if group in COMPARED and figures.get(key) is not None
                    },
                    "note": notes.get(name),
                }
            )
    return found


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
