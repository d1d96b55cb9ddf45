"""`asterism compare`."""

import json
import sys
from collections.abc import Sequence
from typing import Literal

from jsonargparse import ArgumentParser
from rich.table import Table

from asterism.cli.parser import Parser
from asterism.cli.screen import Screen
from asterism.report import read_accounts
from asterism.report.comparison import (
    Comparison,
    as_csv,
    as_markdown,
    brief,
    compare,
    heads,
    lines,
    plain,
)


def run(arguments: Sequence[str]) -> None:
    """Print runs beside each other, mean and deviation over the seeds of the same settings."""
    parser: ArgumentParser = Parser(prog="asterism compare")
    parser.add_argument("runs", type=str, nargs="+", help="Run folders.")
    parser.add_argument(
        "--format",
        type=Literal["table", "markdown", "csv", "json"],
        default="table",
        help="csv and json have every measure in full precision, the others the most telling.",
    )
    options = parser.parse_args(list(arguments))
    comparison = compare(read_accounts(options.runs))
    shortened = brief(comparison)
    if options.format == "json":
        print(json.dumps(plain(comparison), indent=1))
    elif options.format == "csv":
        sys.stdout.write(as_csv(comparison))
    elif options.format == "markdown":
        sys.stdout.write(as_markdown(heads(shortened), lines(shortened)))
    else:
        Screen().print(_table(shortened))


def _table(comparison: Comparison) -> Table:
    table = Table()
    for i, head in enumerate(heads(comparison)):
        named = i < len(heads(comparison)) - len(comparison.columns)
        table.add_column(head, justify="left" if named else "right", overflow="fold")
    for line in lines(comparison):
        table.add_row(*line)
    return table
