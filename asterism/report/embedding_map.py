"""The map: the sampled rows in the plane, as the teacher and as the student lay them out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from asterism.report.examples import RANKED_BY, kept_share
from asterism.report.sample import Sample
from asterism.words import number

# Most classes that are told apart by colour.
COLOURED = 10
LINES = 20


@dataclass(frozen=True)
class Map:
    """What is drawn, what is said of it, and its numbers.

    Attributes:
        reading: How to read it.
        rows: The rows that are drawn: those whose neighbours changed most come first.
        kept: Is the share of kept neighbours known?
        head: Heads of the table.
        table: The first rows as a table.
        data: What the page draws.
    """

    reading: str
    rows: list[int]
    kept: bool
    head: list[str]
    table: list[list[str]]
    data: dict[str, Any]


def map_of(sample: Sample, *, most: int) -> Map | None:
    """Return the map of at most so many rows, None if the run has none."""
    if "student" not in sample.maps:
        return None
    maps = {who: np.nan_to_num(points.astype(np.float64)) for who, points in sample.maps.items()}
    rows = [int(i) for i in np.linspace(0, len(sample) - 1, min(most, len(sample))).round()]
    kept = kept_share(sample)
    if kept is not None:
        rows.sort(key=kept.__getitem__)
    names = sorted(set(sample.labels or ()))
    number_of = {name: i for i, name in enumerate(names)}
    data = {
        "rows": rows,
        "maps": {
            who: [[float(f"{v:.4g}") for v in maps[who][i]] for i in rows]
            for who in ("teacher", "student")
            if who in maps
        },
        "classes": names,
        "class": None if sample.labels is None else [number_of[sample.labels[i]] for i in rows],
        "kept": None if kept is None else [round(kept[i], 3) for i in rows],
        "names": [sample.names[i] for i in rows],
        "texts": None if sample.texts is None else [sample.texts[i] for i in rows],
    }
    by_class = bool(names) and len(names) <= COLOURED
    reading = "Rows that lie close have similar embeddings. " + (
        "Teacher and student see the same rows; the student’s map is turned to lie as the "
        "teacher’s, its shape unchanged. Point at a row, or move the slider, to see it in both. "
        if "teacher" in maps
        else "Point at a row, or move the slider, to see it. "
    )
    reading += (
        "Colour is the class."
        if by_class
        else f"Dark rows kept few of the teacher’s {RANKED_BY} nearest neighbours."
        if kept is not None
        else ""
    )
    head = ["row", *(["class"] if sample.labels else []), *(["neighbours kept, %"] if kept else [])]
    table = [
        [
            sample.names[i],
            *([sample.labels[i]] if sample.labels else []),
            *([number(100 * kept[i], "%")] if kept else []),
        ]
        for i in rows[:LINES]
    ]
    return Map(reading.strip(), rows, kept is not None, head, table, data)
