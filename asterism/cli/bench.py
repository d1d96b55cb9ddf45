"""`asterism bench`."""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.table import Table

from asterism.bench import (
    Cell,
    Grid,
    as_markdown,
    figures,
    probe_of,
    read_grid,
    refuse_others,
    results,
    run_grid,
    typed,
    write_tables,
)
from asterism.cli import probe
from asterism.cli.mistakes import UsageError
from asterism.cli.parser import Parser
from asterism.cli.requests import parse_request
from asterism.cli.screen import Screen
from asterism.data import open_source
from asterism.models import weights_fingerprint
from asterism.names import located
from asterism.options import DECISIVE, differing, names_with, options_of
from asterism.request import Request, typed_name
from asterism.run import RunError
from asterism.settings import Settings
from asterism.student import load
from asterism.training import CONTENTS, made_with, recorded, reopen_data

FILLED_IN = {each.name for each in options_of(Request, Settings) if each.metadata["filled_in"]}


def run(arguments: Sequence[str]) -> None:
    """Run the cells of a grid that are not there yet, and print its table."""
    parser = Parser(prog="asterism bench")
    parser.add_argument("file", type=str, help="The bench file (docs/bench.md).")
    parser.add_argument(
        "--table_only", action="store_true", help="Print the table of what is there; run nothing."
    )
    parser.add_argument(
        "--limit_steps",
        type=int | None,
        help="A dry run: every cell for so many steps, in a temporary folder; nothing is kept.",
    )
    options = parser.parse_args(list(arguments))
    grid = read_grid(Path(located(options.file)))
    check(grid)
    if options.table_only:
        print(as_markdown(grid), end="")
    elif options.limit_steps is None:
        refuse_others(grid)
        refuse_changed_data(grid)
        refuse_probes(grid)
        try:
            broken = fill(grid)
        except KeyboardInterrupt:
            write_tables(grid)
            raise KeyboardInterrupt("The same command goes on.") from None
        check(grid)  # others may have finished cells with another file or other data meanwhile
        write_tables(grid)
        finish(grid, broken)
    elif options.limit_steps < 1:
        raise UsageError(f"--limit-steps must be at least 1; got {options.limit_steps}.")
    else:
        grid.out.parent.mkdir(parents=True, exist_ok=True)
        name = f".{grid.out.name}.dry-"
        with tempfile.TemporaryDirectory(prefix=name, dir=grid.out.parent) as folder:
            dry = grid.dry(Path(folder), steps=options.limit_steps)
            broken = fill(dry, keep_output=False)
            print(f"Dry run, {options.limit_steps} steps a cell: the figures mean nothing.")
            finish(dry, broken)


def check(grid: Grid) -> None:
    """Refuse cells that cannot be run, and results that do not belong into one table.

    Raises:
        UsageError: If a cell's options are not known, its result was made with others or cannot be
            read, or the contents of its data or teacher were not those of the other cells.
    """
    contents: dict[tuple[Any, ...], tuple[str, Cell]] = {}
    for cell in grid.cells:
        check_cell(cell)
        provenance = recorded(cell.run) if cell.finished() else {}
        for name in CONTENTS:
            if provenance.get(name) is None:
                continue
            names = (name,) if name == "teacher" else (name, "data", "image_size")
            asked = tuple(cell.settings.get(each) for each in names)
            first, other = contents.setdefault((name, *asked), (provenance[name], cell))
            if provenance[name] != first:
                raise UsageError(
                    f"{cell.run.path} and {other.run.path} were made with different contents of "
                    f"the {name.replace('_', ' ')} (fingerprints {provenance[name]} and {first}): "
                    "they cannot be compared. Delete the folders that are out of date."
                )
        if cell.finished():
            refuse_other_teacher(cell)
    for name in grid.probes:
        refuse_other_probes(grid, name)


def refuse_other_probes(grid: Grid, name: str) -> None:
    """Refuse students that were probed on data of other contents than the others.

    Raises:
        UsageError: If there are some.
    """
    probed: dict[tuple[str, ...], Cell] = {}
    for cell in filter(Cell.finished, grid.cells):
        if found := probe_of(cell, name, grid.probes[name]):
            probed[tuple(map(str, found["contents"]))] = cell
    if len(probed) > 1:
        one, other, *_ = (cell.probed(name) for cell in probed.values())
        raise UsageError(
            f"{one} and {other} were made with different contents of {name}: they cannot be "
            "compared. Delete what is out of date, and it is made again."
        )


def refuse_other_teacher(cell: Cell) -> None:
    """Refuse a student of an earlier pair's student that has been trained anew since.

    Raises:
        UsageError: If it has.
    """
    known = recorded(cell.run).get("teacher")
    if cell.teacher is None or known is None or not cell.teacher.finished():
        return
    try:
        now = weights_fingerprint(load(cell.teacher.run.path).unchecked())
    except RunError:  # built by the user's own code, which a table does not run
        return
    if now != known:
        raise UsageError(
            f"{cell.run.path} learned from another state of {cell.teacher.run.path} than is there "
            f"now: delete {cell.run.path}, and the cell is run again."
        )


def refuse_changed_data(grid: Grid) -> None:
    """Refuse to run cells on data whose contents have changed since others were finished.

    Raises:
        UsageError: If they have.
    """
    if all(cell.finished() for cell in grid.cells):
        return
    looked_at = set()
    for cell in filter(Cell.finished, grid.cells):
        named = tuple(str(cell.settings.get(name)) for name in (*CONTENTS, "image_size"))
        if named in looked_at:
            continue
        looked_at.add(named)
        try:
            reopen_data(cell.run)
        except RunError as error:
            said = str(error).partition(": ")[0]
            raise UsageError(
                f"{said}: what is still to run could not be compared with it. Give the data back "
                "their contents, or delete the folders that are out of date."
            ) from error


def refuse_probes(grid: Grid) -> None:
    """Read how students will be probed, and open on what, before any is trained.

    Raises:
        FileNotFoundError: If data are not there.
        UsageError: If they have no labels, or an option is not one of `asterism probe`.
    """
    for name, options in grid.probes.items():
        try:
            probe.parser().parse_args(["run", *typed(options)])
        except UsageError as error:
            raise UsageError(f"the probe {name!r}: {error}") from error
        for option in ("data", "test_data"):
            if option in options and open_source(options[option]).targets is None:
                raise UsageError(f"the probe {name!r}: its {option} have no labels to learn by.")


def check_cell(cell: Cell) -> None:
    """Refuse options that the verb does not know, and a result made with other settings.

    Raises:
        UsageError: If one is found, or the cell's result cannot be read.
    """
    try:
        asked = parse_request(cell.verb, cell.settings)[0].plain()
        if not cell.run.begun():
            return
        if cell.finished():
            figures(cell)
        # An option that the result is older than counts with its default.
        made = made_with(cell.run, cell.verb)
    except RunError as error:
        raise UsageError(f"{error} Delete {cell.run.path}, and the cell is run again.") from error
    except (UsageError, ValueError) as error:
        raise UsageError(f"{cell}: {error}") from error
    decisive = {
        typed_name(name, cell.verb) for name in names_with(Request, Settings, roles=DECISIVE)
    }
    open_ones = {name for name in FILLED_IN if not asked.get(name)}
    for name in differing(made, asked, frozenset(decisive - open_ones)):
        raise UsageError(
            f"{cell.run.path} was {'finished' if cell.finished() else 'begun'} with {name} "
            f"{made[name]!r}, and the grid now says {asked[name]!r}: name another `out`, or "
            "delete that folder."
        )


def fill(grid: Grid, *, keep_output: bool = True) -> list[str]:
    """Run what is missing under a live table; return what broke, in words."""
    console = Screen(stderr=True)
    live = Live(get_renderable=lambda: progress(grid), console=console, refresh_per_second=0.5)
    # What clusters send before they take a machine away is Ctrl-C here.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with live if sys.stderr.isatty() else contextlib.nullcontext():
            return run_grid(grid, say=console.print, keep_output=keep_output)
    finally:
        signal.signal(signal.SIGTERM, before)


def finish(grid: Grid, broken: Sequence[str]) -> None:
    """Print the table; broken cells make it a mistake."""
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
        shown_row = (row["pair"], row["method"], shown, f"{row['seeds']}/{len(cells)}", seen)
        table.add_row(*shown_row)
    return table
