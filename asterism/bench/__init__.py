"""Grids of trainings (`asterism bench`): read, run, tabulate."""

from asterism.bench.grid import Cell as Cell
from asterism.bench.grid import Grid as Grid
from asterism.bench.grid import read_grid as read_grid
from asterism.bench.grid import typed as typed
from asterism.bench.runner import run_grid as run_grid
from asterism.bench.tables import as_csv as as_csv
from asterism.bench.tables import as_markdown as as_markdown
from asterism.bench.tables import figures as figures
from asterism.bench.tables import probe_of as probe_of
from asterism.bench.tables import refuse_others as refuse_others
from asterism.bench.tables import results as results
from asterism.bench.tables import write_tables as write_tables

__all__ = [
    "Cell",
    "Grid",
    "as_csv",
    "as_markdown",
    "figures",
    "probe_of",
    "read_grid",
    "refuse_others",
    "results",
    "run_grid",
    "typed",
    "write_tables",
]
