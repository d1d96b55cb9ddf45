"""The headline of a run: one sentence on what the student kept, what it lost, what it saves."""

from collections.abc import Mapping, Sequence
from typing import Any

Records = Mapping[tuple[str, int | None], Mapping[str, Any]]
# What stands for the task, the first that both have.
TASKS = (("accuracy", None), ("recall", 1))
# A teacher that was measured, and with whose figures nothing can be said.
TOO_FEW = "too few rows to tell what the student keeps of its teacher"
# What could be had at the same cost; reductions of the teacher's embedding need the teacher.
RIVALS = {
    "untrained": "the untrained student",
    "without teacher": "the same student trained without the teacher",
}

# What a comparison of two trainings must be read with.
ONE_TRAINING = " (one training each, and other seeds may turn it)"


def headline(
    measures: Sequence[Mapping[str, Any]], *, worst_class: str | None, missing: str | None = None
) -> str:
    """Compose the sentence from the records of a result.

    Args:
        measures: The records.
        worst_class: Name of the class that the record of the worst class is of.
        missing: Why there is no teacher to compare with, where the run had one.
    """
    by_key = {(m["name"], m["k"]): m for m in measures}

    def of(who: str, name: str, k: int | None = None) -> float | None:
        record = by_key.get((name, k))
        shown = None if record is None else record[who]
        return None if shown is None else float(shown["value"])

    kept = []
    for name, k in TASKS:
        student, teacher = of("student", name, k), of("teacher", name, k)
        if student is not None and teacher:
            what = name if k is None else f"{name}@{k}"
            share = 100 * student / teacher
            gap = _gap(by_key[name, k].get("beside_teacher"))
            kept.append(
                f"{share:.0f} % of the teacher's {what} ({student:.1f} of {teacher:.1f} %{gap})"
            )
            break
    overlap = of("student", "neighbour overlap", 10)
    if overlap is not None:
        whose = "its" if kept else "the teacher's"
        kept.append(f"{overlap:.0f} % of {whose} ten nearest neighbours")
    if not kept:
        has_teacher = any(record["teacher"] is not None for record in measures)
        return _alone(of, missing, TOO_FEW if has_teacher else None)
    rest = _saving(of) + _lost(by_key, worst_class) + _no_better(by_key)
    return f"The student keeps {' and '.join(kept)}{rest}."


def _gap(ends: Sequence[float | None] | None) -> str:
    """Return how far the student is from the teacher, in points, as far as these rows tell."""
    low, high = ends or (None, None)
    if low is None or high is None:
        return ""
    if high < 0:
        return f"; {-high:.1f} to {-low:.1f} points less"
    if low > 0:
        return f"; {low:.1f} to {high:.1f} points more"
    return f"; between {-low:.1f} points less and {high:.1f} more"


def _alone(of: Any, missing: str | None, unfit: str | None) -> str:
    """Return the sentence for a model without a teacher, or rows enough, to compare it with."""
    parameters = of("student", "parameters")
    for name, k in (*TASKS, ("k-NN accuracy", None)):  # recall has no queries in single samples
        value = of("student", name, k)
        if value is not None:
            what = name if k is None else f"{name}@{k}"
            why = missing or unfit or "no teacher was given to compare it with"
            return (
                f"The model reaches {value:.1f} % {what} with {parameters:,.0f} parameters; {why}."
            )
    if unfit:
        return f"There are {unfit}."
    why = f": {missing}" if missing else ""
    return f"There are neither labels nor a teacher to measure the model by{why}."


def _saving(of: Any) -> str:
    parts = []
    student = of("student", "parameters")
    teacher = of("teacher", "parameters")
    if student is not None and teacher:
        parts.append(f"{_share(student / teacher)} of its parameters")
    student = of("student", "throughput", 64)
    teacher = of("teacher", "throughput", 64)
    if student and teacher:
        parts.append(f"{student / teacher:.1f} times its speed in batches of 64")
    return f" with {' and '.join(parts)}" if parts else ""


def _share(ratio: float) -> str:
    return f"{100 * ratio:.0f} %" if ratio >= 0.1 else f"{100 * ratio:.1f} %"


def _lost(by_key: Records, name: str | None) -> str:
    record = by_key.get(("worst class", None))
    if record is None or record["teacher"] is None:
        return ""
    loss = record["teacher"]["value"] - record["student"]["value"]
    rows = record["student"].get("count")
    return f"; it loses most on class '{name}' ({loss:.0f} points, on {rows} rows)"


def _no_better(by_key: Records) -> str:
    """Name the rivals that the student does not beat, task first."""
    for name, k in (*TASKS, ("neighbour overlap", 10)):
        record = by_key.get((name, k))
        if record is None or not record["baselines"]:
            continue
        lost = {
            word: [who for key, who in RIVALS.items() if _verdict(record, key) in told]
            for word, told in (
                ("worse than", {"worse"}),
                ("no better than", {"no different", "equal"}),
                ("not shown to be better than", {"cannot tell"}),
            )
        }
        what = name if k is None else f"{name}@{k}"
        words = [f"{word} {' and '.join(who)}" for word, who in lost.items() if who]
        if words:
            one = any(RIVALS["without teacher"] in word for word in words)
            return f"; in {what} it is {' and '.join(words)}" + (ONE_TRAINING if one else "")
    return ""


def _verdict(record: Mapping[str, Any], who: str) -> str | None:
    verdict: str | None = record["baselines"].get(who, {}).get("verdict")
    return verdict
