"""The table of a grid, from the run folders that are there."""

import csv
import io
import statistics
from collections.abc import Iterator
from typing import Any

from asterism.bench.grid import Grid


def results(grid: Grid) -> Iterator[dict[str, Any]]:
    """Yield a row of plain values for each method and pair: means and deviations over seeds."""
    for pair in grid.pairs:
        plain = [c for c in grid.cells if c.pair == pair and c.verb == "train"]
        base = [c.run.read_result()["seconds_per_step"] for c in plain if c.finished()]
        for method in grid.methods:
            cells = [c for c in grid.cells if (c.pair, c.method) == (pair, method)]
            found = [c.run.read_result() for c in cells if c.finished()]
            cost = [r["seconds_per_step"] for r in found]
            row: dict[str, Any] = {"pair": pair, "method": method, "seeds": len(found)}
            for name, values in (
                ("accuracy", [_top1(r) for r in found]),
                ("recall@1", [_recall(r) for r in found]),
                ("agreement", [r.get("fidelity", {}).get("agreement") for r in found]),
            ):
                known = [100 * v for v in values if v is not None]
                row[name] = statistics.mean(known) if known else None
                row[f"{name} sd"] = statistics.stdev(known) if len(known) > 1 else None
            relative = bool(base and cost)
            row["cost"] = statistics.mean(cost) / statistics.mean(base) if relative else None
            row["paper"] = grid.paper.get(pair, {}).get(method)
            yield row


def _top1(result: dict[str, Any]) -> float | None:
    found: float | None = result["student"].get("classification", {}).get("top1")
    return found


def _recall(result: dict[str, Any]) -> float | None:
    found: float | None = result["student"].get("retrieval", {}).get("recall", {}).get("1")
    return found


def as_markdown(grid: Grid) -> str:
    """Return the table as Markdown."""
    lines = [
        "| pair | method | seeds | accuracy % | recall@1 % | agreement % | cost | paper |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results(grid):
        cells = [
            "–" if row[name] is None else f"{row[name]:.1f}" + _spread(row[f"{name} sd"])
            for name in ("accuracy", "recall@1", "agreement")
        ]
        cost = "–" if row["cost"] is None else f"{row['cost']:.2f}×"
        paper = "–" if row["paper"] is None else str(row["paper"])
        names = f"| {row['pair']} | {row['method']} | {row['seeds']} | "
        lines.append(names + " | ".join([*cells, cost, paper]) + " |")
    return "\n".join(lines) + "\n"


def _spread(deviation: float | None) -> str:
    return "" if deviation is None else f" ± {deviation:.1f}"


def as_csv(grid: Grid) -> str:
    """Return the table as CSV, unrounded."""
    rows = list(results(grid))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_tables(grid: Grid) -> None:
    """Write table.md and table.csv into the grid's folder."""
    grid.out.mkdir(parents=True, exist_ok=True)
    (grid.out / "table.md").write_text(as_markdown(grid))
    (grid.out / "table.csv").write_text(as_csv(grid))
