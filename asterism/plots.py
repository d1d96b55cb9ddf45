"""Figures of a run for a paper or a slide: of the same numbers as the page, by matplotlib.

`pip install 'asterism[plots]'`. Each function reads run folders alone and returns a
`matplotlib.figure.Figure`, to be changed and saved: `figure.savefig("map.pdf")`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from asterism.report.charts import curves_of
from asterism.report.sample import Sample, read_sample
from asterism.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDES = ("teacher", "student")
# Most classes that a figure tells apart by colour, or names along an axis.
COLOURED, NAMED = 10, 25


def dynamics(runs: str | Path | Sequence[str | Path]) -> "Figure":
    """Draw each term of the training and each validation score over the steps.

    Args:
        runs: One run folder or several, drawn over each other.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If a run has no figures of its training.
    """
    folders = [Path(runs)] if isinstance(runs, str | Path) else [Path(run) for run in runs]
    curves = {folder: curves_of(Run(folder).read_metrics()) for folder in folders}
    for folder, found in curves.items():
        if not found:
            raise ValueError(f"{folder} has no figures of a training (metrics.jsonl).")
    names = list(dict.fromkeys(name for found in curves.values() for name in found))
    columns = min(3, len(names))
    figure, panels = _panels(-(-len(names) // columns), columns)
    for panel, name in zip(panels, names, strict=False):
        for folder, found in curves.items():
            if name in found:
                panel.plot(*zip(*found[name], strict=True), label=_word(folder.name))
        panel.set(title=_word(name), xlabel="step")
    for panel in panels[len(names) :]:
        panel.remove()
    if len(folders) > 1:
        panels[0].legend()
    return figure


def embedding_map(run: str | Path, *, how: Literal["pca", "tsne"] = "pca") -> "Figure":
    """Draw the sampled rows in the plane, as the teacher and as the student lay them out.

    Args:
        run: The run folder.
        how: `pca`, the two directions of largest variance, the student's turned to lie as the
            teacher's; or `tsne`, begun at these, by scikit-learn with its own settings: near rows
            are near, and distances between groups mean nothing.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If it has no sample of rows, or too few for t-SNE.
    """
    if how not in ("pca", "tsne"):
        raise ValueError(f"a map is made by pca or tsne; got {how!r}.")
    sample = _sample(run)
    flat = {who: sample.maps[who].astype(np.float64) for who in SIDES if who in sample.maps}
    if not flat:
        raise ValueError(f"{run} has no map of its rows: `asterism evaluate RUN --out` makes one.")
    if how == "tsne":
        arrays = Run(run).read_evaluation()
        flat = {who: _tsne(arrays.get(f"{who}_embedding"), flat[who], run) for who in flat}
    figure, panels = _panels(1, len(flat), side=4.0)
    labels = np.array(sample.labels or [""] * len(sample))
    names = sorted(set(labels))
    for panel, (who, points) in zip(panels, flat.items(), strict=True):
        for name in names if len(names) <= COLOURED else [None]:
            some = points[labels == name] if name is not None else points
            panel.scatter(some[:, 0], some[:, 1], s=6, linewidths=0, label=_word(name or ""))
        panel.set(title=who, xticks=[], yticks=[], aspect="equal")
    if 1 < len(names) <= COLOURED:
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside right center", markerscale=2
        )
    return figure


def class_correlations(run: str | Path) -> "Figure":
    r"""Draw what the student changed in how classes go together: the difference of correlations.

    A square is $\rho^S_{ij} - \rho^T_{ij}$, with $\rho_{ij}$ the correlation of the scores of
    classes $i$ and $j$ over all evaluation rows, a diagnostic of RRD's paper. The title has the
    mean absolute difference of two classes.

    Args:
        run: The run folder.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If student or teacher has no scores of the same classes.
    """
    sample = _sample(run)
    if sample.correlations is None:
        raise ValueError(
            f"{run} has no correlations of classes: these need a student and a teacher with scores "
            "of the same classes (at most 256), measured by this version (`asterism evaluate RUN "
            "--out FOLDER` measures an older run again)."
        )
    teacher, student = sample.correlations
    gap = student - teacher
    most = max(0.1, float(np.nanmax(np.abs(gap))) if np.isfinite(gap).any() else 0.0)
    figure, (panel,) = _panels(1, 1, side=5.0)
    shown = panel.imshow(gap, cmap="RdBu_r", vmin=-most, vmax=most)
    figure.colorbar(shown, ax=panel, label="student less teacher")
    between = ~np.eye(len(gap), dtype=bool)
    panel.set_title(f"mean absolute difference {np.nanmean(np.abs(gap[between])):.3f}")
    if len(gap) <= NAMED:
        names = [_word(name) for name in sample.classes]
        panel.set_xticks(range(len(gap)), names, rotation=90)
        panel.set_yticks(range(len(gap)), names)
    return figure


def _sample(run: str | Path) -> Sample:
    sample = read_sample(Run(run))
    if sample is None:
        Run(run).read_config()  # says what is wrong with what is no run
        raise ValueError(
            f"{run} has no sample of its rows: `asterism evaluate RUN --out FOLDER` makes one."
        )
    return sample


def _tsne(rows: NDArray[Any] | None, begin: NDArray[Any], run: str | Path) -> NDArray[Any]:
    from sklearn.manifold import TSNE  # here: it takes longer to import than all of asterism

    if rows is None or rows.ndim != 2 or rows.dtype.kind != "f" or len(rows) != len(begin):
        raise ValueError(f"{run} has no embeddings of its sampled rows to lay out.")
    if len(rows) < 4:
        raise ValueError(f"t-SNE needs at least 4 rows; {run} has {len(rows)}.")
    perplexity = min(30.0, (len(rows) - 1) / 3)
    start = (1e-4 * begin / max(float(begin.std()), 1e-12)).astype(np.float32)
    made: NDArray[Any] = TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(
        np.nan_to_num(rows.astype(np.float32))
    )
    return made


def _word(name: str) -> str:
    """Return a name as matplotlib shows it: of dollars it makes formulas, `_…` it hides."""
    shown = name.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _panels(rows: int, columns: int, side: float = 2.8) -> "tuple[Figure, list[Axes]]":
    """Return a figure that no window or state of matplotlib's knows of, and its panels."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            "figures are drawn by matplotlib: pip install 'asterism[plots]'."
        ) from error
    figure = Figure(figsize=(side * columns + 0.8, side * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)
