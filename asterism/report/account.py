"""A run folder read and checked: all that the report knows of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asterism.report.older import older_measures
from asterism.report.sample import Sample, read_sample
from asterism.run import Run, RunError
from asterism.words import readable

_SAMPLING = ("rows", "pairs", "triplets", "seed", "resamples", "confidence", "level")
GROUPS = ("task", "fidelity", "health", "compatibility", "cost")


@dataclass(frozen=True)
class Estimate:
    """A measured value and, where it was resampled, its interval.

    Attributes:
        value: The value.
        low: Lower end of its interval.
        high: Upper end of its interval.
        verdict: Of a baseline: the student is `better`, `worse`, `equal` but for a margin, or these
            rows `cannot tell`; older runs have `no different`.
        difference: Of a baseline: ends of the interval of student minus baseline.
        rows_to_tell: Of a baseline: rows on which a margin would be seen.
        count: On how many rows it was taken.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    verdict: str | None = None
    difference: tuple[float, float] | None = None
    rows_to_tell: int | None = None
    count: int | None = None


@dataclass(frozen=True)
class Measure:
    """One measure of the student, beside its teacher and the baselines.

    Attributes:
        group: One of `GROUPS`.
        name: Name without k.
        k: Number of neighbours; of costs the batch size.
        unit: `%`, `bytes`, `ms`, … or nothing.
        better: `higher`, `lower` or `none`.
        student: The student's value.
        teacher: The teacher's value.
        baselines: Values by baseline.
        note: What a reader must know of it.
        primary: Whether the report is about this measure.
        gap: Ends of the interval of student minus teacher.
    """

    group: str
    name: str
    k: int | None = None
    unit: str = ""
    better: str = "none"
    student: Estimate | None = None
    teacher: Estimate | None = None
    baselines: Mapping[str, Estimate] = field(default_factory=dict)
    note: str | None = None
    primary: bool = False
    gap: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """Return the name with its k."""
        if self.k is None:
            return self.name
        if self.name.endswith(" by first columns"):
            return f"{self.name.removesuffix('first columns')}{self.k} columns"
        return f"{self.name}{', batch of ' if self.group == 'cost' else '@'}{self.k}"


@dataclass(frozen=True)
class ClassScore:
    """The score of one class, in per cent; `lost`: shown to be below the teacher's, or None."""

    name: str
    count: int
    student: float | None
    teacher: float | None
    lost: bool | None = None


@dataclass(frozen=True)
class Account:
    """The contents of a run folder.

    Attributes:
        path: The run folder.
        name: Its shortest name among the runs of a report.
        config: The settings.
        headline: What was kept, what was lost, at what saving, in a sentence; or None.
        split: The rows on which it was measured: `test`, `validation`.
        rows: How many there were.
        sampling: How they were sampled: `rows`, `pairs`, `triplets`, `seed`, `resamples`,
            `confidence`, `level`; None is not known. Only runs of older versions, whose intervals
            are too narrow for neighbourhoods, have `resamples`.
        measures: All measures.
        classes: All classes, without an order.
        metrics: The lines of `metrics.jsonl`.
        sample: The sampled rows, or None.
        data: What was found in the data, in sentences; none of an older run.
        unmeasured: What could not be measured, and why.
        remarks: What went otherwise than it should in the training, in sentences.
    """

    path: Path
    name: str
    config: dict[str, Any]
    headline: str | None
    split: str
    rows: float | None
    sampling: dict[str, float | None]
    measures: tuple[Measure, ...]
    classes: tuple[ClassScore, ...]
    metrics: list[dict[str, Any]]
    sample: Sample | None
    data: tuple[str, ...] = ()
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def baselines(self) -> list[str]:
        """Return the names of the baselines, in the order in which they appear."""
        return list(dict.fromkeys(name for m in self.measures for name in m.baselines))


def read_account(path: Path, name: str) -> Account:
    """Read a run folder.

    Raises:
        FileNotFoundError: If it is no finished run.
        RunError: If a file is damaged; the message names it.
    """
    run = Run(path)
    config = run.read_config()
    result = run.read_result()
    metrics = run.read_metrics()
    sample = read_sample(run)
    try:
        headline = result.get("headline")
        records = result.get("measures")
        measures = [_measure(m) for m in (older_measures(result) if records is None else records)]
        classes = tuple(_class(c) for c in result.get("per_class") or ())
        rows = finite(result.get("rows"))
        drawn = result.get("sampling") or {}
        data = tuple(str(line) for line in (result.get("data") or {}).get("lines") or ())
        unmeasured = {str(k): str(why) for k, why in (result.get("unmeasured") or {}).items()}
        remarks = tuple(str(line) for line in result.get("remarks") or ())
        sampling = {key: finite(drawn.get(key)) for key in _SAMPLING}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path / 'result.json'} is damaged: {error!r}.") from error
    headline = None if headline is None else str(headline)
    order = sorted(measures, key=lambda m: GROUPS.index(m.group))
    split = readable(result.get("split", ""))
    return Account(
        path=run.path,
        name=name,
        config=config,
        headline=headline,
        split=split,
        rows=rows,
        sampling=sampling,
        measures=tuple(order),
        classes=classes,
        metrics=metrics,
        sample=sample,
        data=data,
        unmeasured=unmeasured,
        remarks=remarks,
    )


def _measure(record: Mapping[str, Any]) -> Measure:
    if record["group"] not in GROUPS:
        raise ValueError(f"a measure's group is {record['group']!r}")
    return Measure(
        group=record["group"],
        name=str(record["name"]),
        k=None if record.get("k") is None else int(record["k"]),
        unit=str(record.get("unit") or ""),
        better=str(record.get("better") or "none"),
        student=_estimate(record.get("student")),
        teacher=_estimate(record.get("teacher")),
        baselines={
            str(name): estimate
            for name, values in (record.get("baselines") or {}).items()
            if (estimate := _estimate(values)) is not None
        },
        note=None if record.get("note") is None else str(record["note"]),
        primary=record.get("primary") is True,
        gap=_ends(record.get("beside_teacher")),
    )


def _estimate(values: Mapping[str, Any] | None) -> Estimate | None:
    if values is None:
        return None
    verdict = values.get("verdict")
    if verdict not in (None, "better", "worse", "equal", "cannot tell", "no different"):
        raise ValueError(f"a verdict is {verdict!r}")
    value, low, high = (finite(values.get(key)) for key in ("value", "low", "high"))
    rows, count = (
        None if (found := finite(values.get(key))) is None else int(found)
        for key in ("rows_to_tell", "count")
    )
    return Estimate(value, low, high, verdict, _ends(values.get("difference")), rows, count)


def _ends(values: Any) -> tuple[float, float] | None:
    """Return the ends of an interval, or None if one is missing."""
    low, high = (finite(end) for end in values) if values is not None else (None, None)
    return None if low is None or high is None else (low, high)


def _class(record: Mapping[str, Any]) -> ClassScore:
    student = finite(record.get("student"))
    teacher = finite(record.get("teacher"))
    lost = record.get("lost")
    known = bool(lost) if isinstance(lost, bool) else None
    return ClassScore(str(record["class"]), int(record["count"]), student, teacher, known)


def finite(value: Any) -> float | None:
    """Return a number, or None for what is missing or not finite."""
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None
