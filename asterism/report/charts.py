"""The charts of a run: each with its numbers as a table and a sentence on how to read it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asterism.report.account import Account, ClassScore, finite
from asterism.report.sample import Sample
from asterism.words import number, readable

# Most classes that a chart draws; its table has all of them.
CLASSES_DRAWN = 15
# Most classes of which each is shown beside each.
CROSSED = 40
# Most points of a curve, most lines of its table.
POINTS = 300
LINES = 25


@dataclass(frozen=True)
class Chart:
    """A chart, and its numbers for those who cannot see it.

    Attributes:
        kind: `curves`, `distances`, `overlap`, `correlations` or `classes`.
        title: What it shows.
        reading: How to read it.
        head: Heads of the table's columns.
        rows: The numbers, as texts and numbers.
        data: What the chart draws.
    """

    kind: str
    title: str
    reading: str
    head: list[str]
    rows: list[list[Any]]
    data: dict[str, Any]


def charts_of(account: Account) -> list[Chart]:
    """Return the charts for which a run has the numbers."""
    charts = [_curves(account)]
    if account.sample is not None:
        charts += [_distances(account.sample), _overlap(account.sample)]
        charts += [_correlations(account.sample)]
    return [chart for chart in (*charts, _classes(account)) if chart is not None]


def curves_of(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return steps and values of each term of the training and of each validation score."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in metrics:
        for name, value in line.items():
            if name.startswith(("train/", "validation/")) and (y := _number(value)) is not None:
                if (x := _number(line.get("step"))) is not None:
                    curves.setdefault(readable(name), []).append((x, y))
    return curves


def _curves(account: Account) -> Chart | None:
    curves = curves_of(account.metrics)
    if not curves:
        return None
    thinned = {name: _thin(points, POINTS) for name, points in curves.items()}
    steps = _thin(sorted({x for points in curves.values() for x, _ in points}), LINES)
    at = {name: dict(points) for name, points in curves.items()}
    return Chart(
        "curves",
        "Training, term by term",
        "Each panel has its own scale: look at the shape. A training term that falls and then "
        "stays level has been learned; a validation curve that turns back is overfitting.",
        ["step", *curves],
        [[int(s), *(at[name].get(s) for name in curves)] for s in steps],
        {name: [[x, _short(y)] for x, y in points] for name, points in thinned.items()},
    )


def _distances(sample: Sample) -> Chart | None:
    if sample.pairs is None or sample.pairs.shape[1] < 10:
        return None
    # On different scales: each network's distances are divided by their mean.
    teacher, student = sample.pairs / np.maximum(sample.pairs.mean(1, keepdims=True), 1e-12)
    order = np.argsort(teacher, kind="stable")
    tenths = [
        [float(teacher[part].mean()), *map(float, np.quantile(student[part], (0.1, 0.5, 0.9)))]
        for part in np.array_split(order, 10)
    ]
    return Chart(
        "distances",
        "Distances: teacher and student",
        f"Each dot is one of {len(teacher):,} pairs of samples, its distance divided by the "
        "network's mean distance. On the diagonal the student keeps the teacher's distances; the "
        "line is the student's median in each tenth of the teacher's distances.",
        ["teacher's distance (mean of the tenth)", "student: 10 %", "median", "90 %"],
        tenths,
        {
            "points": [[_short(t), _short(s)] for t, s in zip(teacher, student, strict=True)],
            "tenths": [[_short(v) for v in line] for line in tenths],
        },
    )


def _overlap(sample: Sample) -> Chart | None:
    if sample.overlap is None or len(sample) < 3:
        return None
    n = len(sample)
    rows = []
    for k, column in enumerate(100 * sample.overlap.T, start=1):
        mean = float(column.mean())
        half = 1.96 * float(column.std(ddof=1)) / n**0.5
        chance = min(100 * k / (n - 1), 100.0)
        rows.append([k, mean, max(mean - half, 0.0), min(mean + half, 100.0), chance])
    return Chart(
        "overlap",
        "Neighbours kept",
        f"Of the teacher's k nearest neighbours among {n:,} sampled rows, the share that are also "
        "among the student's k nearest (band: 95 % interval of the mean). A student that knows "
        "nothing of the teacher lies on the line of chance; 100 % is the same neighbourhoods.",
        ["k", "kept, %", "low", "high", "chance, %"],
        rows,
        {"rows": [[_short(v) for v in row] for row in rows]},
    )


def _correlations(sample: Sample) -> Chart | None:
    if sample.correlations is None:
        return None
    teacher, student = sample.correlations
    gap = np.nan_to_num(student - teacher)
    order = np.argsort(-np.abs(gap).sum(1), kind="stable")[:CROSSED]
    which = "" if len(order) == len(gap) else f" Of {len(gap)} classes the {CROSSED} most changed."
    one, other = np.triu_indices(len(gap), 1)
    worst = np.argsort(-np.abs(gap[one, other]), kind="stable")[:LINES]
    pairs = [(int(one[i]), int(other[i])) for i in worst]
    return Chart(
        "correlations",
        "Classes that go together",
        "How much more (or less) the student’s scores of two classes rise together than the "
        "teacher’s do: the difference of their correlations over all rows. An empty square is a "
        f"relation between classes that the student kept.{which}",
        ["class", "and", "teacher", "student", "difference"],
        [
            [
                sample.classes[i],
                sample.classes[j],
                *(float(x[i, j]) for x in (teacher, student, gap)),
            ]
            for i, j in pairs
            if np.isfinite(student[i, j] - teacher[i, j])
        ],
        {
            "names": [readable(sample.classes[i], 24) for i in order],
            "cells": [
                [column, row, _short(gap[i, j])]
                for row, i in enumerate(order)
                for column, j in enumerate(order)
                if row != column
            ],
        },
    )


def _classes(account: Account) -> Chart | None:
    if not account.classes:
        return None
    beside = any(c.teacher is not None for c in account.classes)

    def loss(one: ClassScore) -> float:
        if one.student is None:
            return -math.inf
        return (one.teacher or 0.0) - one.student if beside else -one.student

    worst = sorted(account.classes, key=loss, reverse=True)
    rows = [[readable(c.name), c.count, c.student, c.teacher] for c in worst]
    drawn = rows[:CLASSES_DRAWN]
    which = "All" if len(drawn) == len(rows) else f"The worst {CLASSES_DRAWN} of {len(rows)}"
    # As the run measures them: by its classifier, or by the nearest neighbour where it has none, or
    # where that cannot score classes that training did not see.
    scored = any(m.name == "accuracy" and m.student for m in account.measures)
    mixed = any(m.name == "recall, new classes" for m in account.measures)
    score = "accuracy" if scored and not mixed else "recall@1"
    order = "by what the student lost" if beside else f"by the student's {score}"
    return Chart(
        "classes",
        "Class by class",
        f"{which} classes, worst first {order}. The bar is the student's {score}"
        + (", the upright mark the teacher's: the gap is the loss." if beside else "."),
        ["class", "rows", "student, %", "teacher, %"],
        rows,
        {"score": score, "rows": [[readable(r[0], 24), *r[1:]] for r in drawn]},
    )


def _number(value: Any) -> float | None:
    return finite(value) if isinstance(value, int | float) else None


def _thin(points: list[Any], most: int) -> list[Any]:
    if len(points) <= most:
        return points
    return [points[i] for i in np.linspace(0, len(points) - 1, most).round().astype(int)]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def shown(chart: Chart) -> list[list[str]]:
    """Return the rows of a chart's table as texts."""
    unit = "%" if chart.kind in ("overlap", "classes") else ""
    return [
        [v if isinstance(v, str) else number(v, unit if isinstance(v, float) else "") for v in row]
        for row in chart.rows
    ]
