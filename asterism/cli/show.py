"""Results as a table on the screen."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from asterism.cli.screen import Screen
from asterism.distributed import is_first
from asterism.result import Result

# Column, path in the evaluation of one model, factor, format.
COLUMNS: tuple[tuple[str, tuple[str, ...], float, str], ...] = (
    ("accuracy %", ("classification", "top1"), 100, ".1f"),
    ("recall@1 %", ("retrieval", "recall", "1"), 100, ".1f"),
    ("MAP@R %", ("retrieval", "map_at_r"), 100, ".1f"),
    ("k-NN %", ("knn",), 100, ".1f"),
    ("probe %", ("probe",), 100, ".1f"),
    ("agreement %", ("fidelity", "agreement"), 100, ".1f"),
    ("overlap@10 %", ("fidelity", "neighbour_overlap", "10"), 100, ".1f"),
    ("parameters", ("cost", "parameters"), 1, ","),
    ("width", ("cost", "embedding_dim"), 1, ""),
    ("latency ms", ("cost", "latency_ms", "1"), 1, ".2f"),
)


def table(rows: Mapping[str, Mapping[str, Any]], *, title: str) -> Table:
    """Return a table of models by name; columns that no model fills are left out."""
    cells = {
        name: [_cell(evaluation, *column[1:]) for column in COLUMNS]
        for name, evaluation in rows.items()
    }
    filled = [any(row[i] != "–" for row in cells.values()) for i in range(len(COLUMNS))]
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    for column, used in zip(COLUMNS, filled, strict=True):
        if used:
            shown.add_column(column[0], justify="right")
    for name, row in cells.items():
        shown.add_row(name, *(cell for cell, used in zip(row, filled, strict=True) if used))
    return shown


def _cell(node: Any, path: tuple[str, ...], factor: float, form: str) -> str:
    for key in path:
        if not isinstance(node, Mapping):
            return "–"
        # Numbers of neighbours are numbers in memory and strings in JSON.
        node = node.get(key, node.get(int(key)) if key.isdigit() else None)
    return "–" if node is None else format(node * factor, form)


def row_of(result: Result) -> dict[str, Any]:
    """Return what a table shows of a result's student."""
    return {**result.evaluation["student"], "fidelity": result.evaluation.get("fidelity")}


def show(result: Result) -> None:
    """Print a result, beside its teacher; of several processes only the first does."""
    if not is_first():
        return
    rows = {"student": row_of(result)}
    if "teacher" in result.evaluation:
        rows = {"teacher": result.evaluation["teacher"], **rows}
    console = Screen()
    where = f"{result.evaluation['rows']} {result.evaluation['split']} samples"
    console.print(table(rows, title=f"{result.run}, measured on {where}"))
    if "headline" in result.evaluation:
        console.print(result.evaluation["headline"])
    if result.page is not None:
        console.print(f"What it kept, on a page: {result.page}")
