"""How far the rows of a table lie from its first one, and whether chance alone would do that."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asterism.bench.grid import Cell, Grid
from asterism.chance import LEVEL, REACH, OverSeeds, adjusted, over_seeds
from asterism.run import RunError

# Points between which nobody would choose.
MARGIN = 1.0
# What rows are compared in: the first of these that both have.
COMPARED = ("accuracy", "recall@1")


@dataclass(frozen=True)
class Difference:
    """A row less the first one, in points of accuracy, or else of recall@1.

    Attributes:
        measure: Which of both.
        found: The mean over the seeds that both have, with its interval; None where there is one
            seed and no record of its samples.
        value: The mean alone.
        seeds: How many seeds both have.
        verdict: `better`, `worse`, `equal` but for a point, `cannot tell`; or None.
    """

    measure: str
    found: OverSeeds | None
    value: float
    seeds: int
    verdict: str | None


def differences(
    grid: Grid, measured: Mapping[Path, Mapping[str, Any]]
) -> dict[tuple[str, str], Difference]:
    """Return the differences by pair and method; all verdicts hold together (Holm).

    The samples of a seed are the same in both rows, and so are its views and order: differences are
    paired by both. The interval is that of several trainings on the same samples, `over_seeds`.

    Args:
        grid: The grid; each pair's first method is what the others are compared with.
        measured: The figures of the finished cells, by their run folders.

    Raises:
        RunError: If the sample of a cell is damaged.
    """
    by_place = {
        (cell.pair, cell.method, cell.seed): cell
        for cell in grid.cells
        if cell.run.path in measured
    }
    found: dict[tuple[str, str], Difference] = {}
    for pair in grid.pairs:
        first, *others = grid.methods
        for method in others:
            both = [
                (by_place[pair, method, seed], by_place[pair, first, seed])
                for seed in dict.fromkeys(cell.seed for cell in grid.cells)
                if (pair, method, seed) in by_place and (pair, first, seed) in by_place
            ]
            if (one := _difference(both, measured)) is not None:
                found[pair, method] = one
    known = {place: one.found for place, one in found.items() if one.found is not None}
    p_values = adjusted([one.p_value for one in known.values()], [1.0] * len(known))
    for (place, over), p_value in zip(known.items(), p_values, strict=True):
        one = found[place]
        verdict = _verdict(over, p_value)
        found[place] = Difference(one.measure, over, one.value, one.seeds, verdict)
    return found


def _verdict(over: OverSeeds, p_value: float) -> str:
    if over.low > -MARGIN and over.high < MARGIN:
        return "equal"
    if p_value > LEVEL:
        return "cannot tell"
    return "better" if over.value > 0 else "worse"


def _difference(
    both: list[tuple[Cell, Cell]], measured: Mapping[Path, Mapping[str, Any]]
) -> Difference | None:
    for name in COMPARED:
        gaps: list[float] = []
        ends: list[tuple[float, float] | None] = []
        for one, other in both:
            values = [measured[cell.run.path][name] for cell in (one, other)]
            if None in values:
                continue
            gaps.append(100 * (values[0] - values[1]))
            rows = measured[one.run.path]["rows"]
            error = _error(one, other, rows) if name == "accuracy" else None
            ends.append(
                None if error is None else (gaps[-1] - REACH * error, gaps[-1] + REACH * error)
            )
        if not gaps:
            continue
        over = over_seeds(gaps, ends) if len(gaps) > 1 or ends != [None] else None
        return Difference(name, over, sum(gaps) / len(gaps), len(gaps), None)
    return None


def _error(one: Cell, other: Cell, rows: int) -> float | None:
    """Return the standard error of a difference in accuracy over samples, in points.

    From the samples that both folders keep. One that differs is added each way: that none was seen
    is no proof (Bonett and Price, 2012).
    """
    kept = [cell.run.read_evaluation() for cell in (one, other)]
    if any("correct" not in arrays or "row" not in arrays for arrays in kept):
        return None
    (a, b), (index, same) = ([arrays[name] for arrays in kept] for name in ("correct", "row"))
    if not a.shape == b.shape == index.shape:
        raise RunError(f"{one.run.path / 'evaluation.npz'} is damaged: rows of two lengths.")
    if not np.array_equal(index, same):
        return None
    counted = (a >= 0) & (b >= 0)
    number = int(counted.sum())
    if number < 2:
        return None
    gaps = a[counted].astype(float) - b[counted]
    square = float(((gaps - gaps.mean()) ** 2).sum()) + 2
    return 100 * math.sqrt(square / (number - 1) / max(rows, number))
