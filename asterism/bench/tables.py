"""The table of a grid, from the run folders that are there."""

import csv
import io
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asterism.bench.differences import Difference, differences
from asterism.bench.grid import Cell, Grid
from asterism.documents import read_file, read_json, replacing
from asterism.run import RunError
from asterism.words import csv_cell, markdown


def results(grid: Grid) -> Iterator[dict[str, Any]]:
    """Yield a row of plain values for each method and pair: means and deviations over seeds."""
    for pair in grid.pairs:
        plain = [c for c in grid.cells if c.pair == pair and c.verb == "train"]
        base = _seconds([figures(c) for c in plain if c.finished()])
        for method in grid.methods:
            cells = [c for c in grid.cells if (c.pair, c.method) == (pair, method)]
            measured = [figures(c) for c in cells if c.finished()]
            cost = _seconds(measured)
            row: dict[str, Any] = {"pair": pair, "method": method, "seeds": len(measured)}
            for name in ("accuracy", "recall@1", "agreement"):
                known = [100 * of_cell[name] for of_cell in measured if of_cell[name] is not None]
                row[name] = statistics.mean(known) if known else None
                row[f"{name} sd"] = statistics.stdev(known) if len(known) > 1 else None
            for name, options in grid.probes.items():
                found = [probe_of(cell, name, options) for cell in cells if cell.finished()]
                known = [100 * one["student"]["probe"]["value"] for one in found if one]
                row[f"{name} probe"] = statistics.mean(known) if known else None
                row[f"{name} probe sd"] = statistics.stdev(known) if len(known) > 1 else None
            relative = bool(base and cost)
            row["cost"] = statistics.mean(cost) / statistics.mean(base) if relative else None
            row["paper"] = grid.paper.get(pair, {}).get(method)
            yield row


def figures(cell: Cell) -> dict[str, Any]:
    """Return what the table shows of a finished cell, and the seconds that a step took.

    Raises:
        RunError: If its result is damaged.
    """
    result = cell.run.read_result()
    try:
        student = result["student"]
        return {
            "accuracy": student.get("classification", {}).get("top1"),
            "recall@1": student.get("retrieval", {}).get("recall", {}).get("1"),
            "agreement": result.get("fidelity", {}).get("agreement"),
            "rows": int(result.get("rows") or 0),
            "seconds": None if (seconds := result["seconds_per_step"]) is None else float(seconds),
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{cell.run.path / 'result.json'} is damaged: {error!r}.") from error


def probe_of(cell: Cell, name: str, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what `asterism probe` found of a finished cell's student; None if it is out of date.

    Args:
        cell: The cell.
        name: Name of the probe.
        options: Its options: one of other options, or of other weights, has to be made again.

    Raises:
        RunError: If the file is damaged.
    """
    file = cell.probed(name)
    if not file.exists():
        return None
    try:
        found = read_json(file)
        float(found["student"]["probe"]["value"])
        same = all(found[option] == value for option, value in options.items())
        weights, contents = found["weights"], found["contents"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{file} is damaged: {error!r}. Delete it, and it is made again.") from error
    known = isinstance(contents, list) and weights == cell.run.read_card().get("sha256")
    return found if same and known else None


def _seconds(measured: list[dict[str, Any]]) -> list[float]:
    return [of_cell["seconds"] for of_cell in measured if of_cell["seconds"] is not None]


def as_markdown(grid: Grid) -> str:
    """Return the table as Markdown."""
    beside = differences(grid, _measured(grid))
    named = [f"beside {markdown(grid.methods[0])}"] if beside else []
    shares = ["accuracy", "recall@1", "agreement", *(f"{name} probe" for name in grid.probes)]
    # Nobody is called @1: only names of the user's are escaped.
    heads = [*shares[:3], *(f"{markdown(name)} probe" for name in grid.probes)]
    columns = ["pair", "method", "seeds", *(f"{head} %" for head in heads), *named]
    lines = [f"| {' | '.join([*columns, 'cost', 'paper'])} |", "|---" * (len(columns) + 2) + "|"]
    for row in results(grid):
        cells = [
            "–" if row[name] is None else f"{row[name]:.1f}" + _spread(row[f"{name} sd"])
            for name in shares
        ]
        told = [_told(beside.get((row["pair"], row["method"])))] if beside else []
        cost = "–" if row["cost"] is None else f"{row['cost']:.2f}×"
        paper = "–" if row["paper"] is None else str(row["paper"])
        names = (markdown(row[name]) for name in ("pair", "method"))
        lines.append(
            "| " + " | ".join([*names, str(row["seeds"]), *cells, *told, cost, paper]) + " |"
        )
    if any(one.seeds == 1 and one.found for one in beside.values()):
        lines += ["", "¹ One seed: of these students, not of the methods; other seeds may turn it."]
    return "\n".join(lines) + "\n"


def _measured(grid: Grid) -> dict[Path, dict[str, Any]]:
    return {cell.run.path: figures(cell) for cell in grid.cells if cell.finished()}


def _told(one: Difference | None) -> str:
    if one is None:
        return "–"
    text = f"{one.value:+.1f}"
    if one.found is not None:
        text += f" ({one.found.low:.1f} to {one.found.high:.1f}), {one.verdict}"
    return f"{text} ¹" if one.seeds == 1 and one.found is not None else text


def _spread(deviation: float | None) -> str:
    return "" if deviation is None else f" ± {deviation:.1f}"


def as_csv(grid: Grid) -> str:
    """Return the table as CSV, unrounded."""
    beside = differences(grid, _measured(grid))
    rows = [{**row, **_plain(beside.get((row["pair"], row["method"])))} for row in results(grid)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
    writer.writerow({name: csv_cell(name) for name in (rows[0] if rows else [])})
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _plain(one: Difference | None) -> dict[str, Any]:
    over = None if one is None else one.found
    return {
        "difference": None if one is None else one.value,
        "difference low": None if over is None else over.low,
        "difference high": None if over is None else over.high,
        "verdict": None if one is None else one.verdict,
    }


def write_tables(grid: Grid) -> None:
    """Write table.md and table.csv into the grid's folder."""
    refuse_others(grid)
    grid.out.mkdir(parents=True, exist_ok=True)
    for name, content in (("table.md", as_markdown(grid)), ("table.csv", as_csv(grid))):
        with replacing(grid.out / name) as file:
            file.write_text(content, encoding="utf-8")


def refuse_others(grid: Grid) -> None:
    """Raise a ValueError if what the tables would be written over is no table of ours."""
    begin = {"table.md": b"| pair | method |", "table.csv": b"pair,method,"}
    for name, head in begin.items():
        file = grid.out / name
        if file.exists() and (content := read_file(file)) and not content.startswith(head):
            raise ValueError(
                f"{file} is there, and is no table of a grid: name another `out`, or move it."
            )
