"""The sampled rows of a run (`evaluation.npz`), checked."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asterism.run import Run, RunError
from asterism.words import readable

Array = NDArray[np.generic]
# Longest text and longest name that the page carries.
TEXT = 300
NAME = 60


@dataclass(frozen=True)
class Sample:
    """The rows that the charts show; what a run does not have is None.

    Attributes:
        names: A name for each row.
        labels: Its class in words.
        texts: Its text.
        thumbnails: Its picture `(n, height, width, 3)`, uint8.
        maps: Points `(n, 2)` of `teacher` and `student`.
        neighbours: Positions `(n, k)` of the nearest rows, nearest first, of `teacher`, `student`.
        overlap: Share of the teacher's k nearest among the student's `(n, k)`, for k = 1, 2, ….
        pairs: Distances of sampled pairs, teacher then student `(2, pairs)`.
        correlations: Of the scores of each two classes, teacher then student `(2, c, c)`; NaN of a
            class whose score never varies.
        classes: Names of these classes.
    """

    names: list[str]
    labels: list[str] | None
    texts: list[str] | None
    thumbnails: Array | None
    maps: dict[str, Array]
    neighbours: dict[str, Array]
    overlap: Array | None
    pairs: Array | None
    correlations: Array | None
    classes: list[str]

    def __len__(self) -> int:
        return len(self.names)


def read_sample(run: Run) -> Sample | None:
    """Read the sampled rows of a run, None if it has none.

    Raises:
        RunError: If the arrays do not fit each other.
    """
    arrays = run.read_evaluation()
    if not arrays:
        return None
    n = len(arrays.get("name", arrays.get("row", ())))

    def take(name: str, kind: str, fits: Callable[[Array], bool]) -> Array | None:
        array = arrays.get(name)
        if array is not None and (array.dtype.kind not in kind or not fits(array)):
            raise RunError(
                f"{run.path / 'evaluation.npz'} is damaged: {name} is {array.dtype} "
                f"{array.shape}, which does not fit {n} rows."
            )
        return array

    def per_row(array: Array) -> bool:
        return len(array) == n

    def both(name: str, kind: str, fits: Callable[[Array], bool]) -> dict[str, Array]:
        sides = {who: take(name.format(who), kind, fits) for who in ("teacher", "student")}
        return {who: array for who, array in sides.items() if array is not None}

    names = take("name", "U", per_row)
    texts = take("texts", "U", per_row)
    overlap = take("overlap", "f", lambda a: a.ndim == 2 and len(a) == n)
    thumbnails = take(
        "thumbnails", "u", lambda a: a.shape[::3] == (n, 3) and a.ndim == 4 and a.itemsize == 1
    )
    pairs = both("pair_distance_{}", "f", lambda a: a.ndim == 1)
    if len({len(side) for side in pairs.values()}) > 1:
        raise RunError(f"{run.path / 'evaluation.npz'} is damaged: pairs of two lengths.")
    stacked = np.stack([pairs["teacher"], pairs["student"]]) if len(pairs) == 2 else None
    squares = both("{}_class_correlation", "f", lambda a: a.ndim == 2 and len(a) == a.shape[1])
    if len({square.shape for square in squares.values()}) > 1:
        raise RunError(f"{run.path / 'evaluation.npz'} is damaged: scores of other classes.")
    correlations = None
    if len(squares) == 2:
        correlations = np.stack([squares["teacher"], squares["student"]]).astype(np.float64)
    named = take("class_names", "U", lambda a: True)
    return Sample(
        names=[str(i) for i in range(n)] if names is None else [readable(t, NAME) for t in names],
        labels=_labels(take("target", "iu", per_row), named),
        texts=None if texts is None else [readable(t, TEXT) for t in texts],
        thumbnails=thumbnails,
        maps=both("{}_map", "f", lambda a: a.shape == (n, 2)),
        neighbours=both("{}_neighbours", "iu", lambda a: a.ndim == 2 and _positions(a, n)),
        overlap=None if overlap is None else overlap.astype(np.float64),
        pairs=None if stacked is None else stacked[:, np.isfinite(stacked).all(0)],
        correlations=correlations,
        classes=_names(named, 0 if correlations is None else len(correlations[0])),
    )


def _positions(positions: Array, n: int) -> bool:
    return len(positions) == n and (
        positions.size == 0 or 0 <= positions.min() <= positions.max() < n
    )


def _names(named: Array | None, number: int) -> list[str]:
    known = [] if named is None else [readable(name, NAME) for name in named[:number]]
    return known + [str(i) for i in range(len(known), number)]


def _labels(target: Array | None, names: Array | None) -> list[str] | None:
    if target is None:
        return None
    known = [] if names is None else [readable(name, NAME) for name in names]
    return [known[t] if 0 <= t < len(known) else str(t) for t in target.tolist()]
