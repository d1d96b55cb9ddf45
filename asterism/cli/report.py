"""`asterism report`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from asterism.cli.parser import Parser
from asterism.report import write_report
from asterism.words import printable


def run(arguments: Sequence[str]) -> None:
    """Write one page about one run or several."""
    parser: ArgumentParser = Parser(prog="asterism report")
    parser.add_argument("runs", type=str, nargs="+", help="Run folders.")
    parser.add_argument(
        "--out",
        type=str | None,
        help="The page, NAME.html; NAME.json and NAME.md are written beside it. By default "
        "report.html in the run folder, or for several runs here.",
    )
    options = parser.parse_args(list(arguments))
    where = Path(options.runs[0]) if len(options.runs) == 1 else Path()
    page = write_report(options.runs, options.out or where / "report.html")
    size = page.stat().st_size / 1e6
    beside = f"{page.stem}.json and {page.stem}.md"
    print(printable(f"{page} ({size:.1f} MB), and its numbers in {beside}"))
