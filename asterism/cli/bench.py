"""`asterism bench`."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from asterism.bench import Grid, as_markdown, read_grid, results, run_grid, write_tables
from asterism.cli.mistakes import UsageError
from asterism.cli.parser import Parser


def run(arguments: Sequence[str]) -> None:
    """Run the cells of a grid that are not there yet, and print its table."""
    parser = Parser(prog="asterism bench")
    parser.add_argument("file", type=str, help="The bench file (docs/bench.md).")
    parser.add_argument(
        "--table_only", action="store_true", help="Print the table of what is there; run nothing."
    )
    parser.add_argument(
        "--limit_steps", type=int | None, help="Stop each cell after so many steps: a dry run."
    )
    dashed = [a.replace("-", "_").replace("__", "--", 1) if a[:2] == "--" else a for a in arguments]
    options = parser.parse_args(dashed)
    grid = read_grid(Path(options.file))
    broken: list[str] = []
    if not options.table_only:
        extra = () if options.limit_steps is None else ("--limit-steps", str(options.limit_steps))
        console = Console(stderr=True)
        live = Live(get_renderable=lambda: progress(grid), console=console, refresh_per_second=0.5)
        with live if sys.stderr.isatty() else contextlib.nullcontext():
            broken = run_grid(grid, say=console.print, extra=extra)
        write_tables(grid)
    print(as_markdown(grid), end="")
    if broken:
        raise UsageError(
            f"{len(broken)} cells broke; the same command tries them again. {' '.join(broken)}"
        )


def progress(grid: Grid) -> Table:
    """Return the table as far as it is filled, with what runs now."""
    table = Table(title=str(grid.out), title_justify="left")
    for column in ("pair", "method", "accuracy %", "done", "running"):
        table.add_column(column)
    for row in results(grid):
        cells = [c for c in grid.cells if (c.pair, c.method) == (row["pair"], row["method"])]
        running = [c for c in cells if not c.finished() and c.run.in_use()]
        epochs = [(c.run.read_metrics() or [{"epoch": 0}])[-1]["epoch"] + 1 for c in running]
        shown = "–" if row["accuracy"] is None else f"{row['accuracy']:.1f}"
        seen = ", ".join(f"seed {c.seed} epoch {e}" for c, e in zip(running, epochs, strict=True))
        table.add_row(row["pair"], row["method"], shown, f"{row['seeds']}/{len(cells)}", seen)
    return table
