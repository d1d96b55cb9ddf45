"""`asterism report`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from asterism.cli.parser import Parser
from asterism.documents import replacing
from asterism.names import located
from asterism.report import read_accounts, write_report
from asterism.report.gate import Requirement, as_junit, check
from asterism.words import printable


def run(arguments: Sequence[str]) -> int:
    """Write one page about one run or several; return 1 if a requirement does not hold."""
    parser: ArgumentParser = Parser(prog="asterism report")
    parser.add_argument("runs", type=str, nargs="+", help="Run folders.")
    parser.add_argument(
        "--out",
        type=str | None,
        help="The page, NAME.html; NAME.json and NAME.md are written beside it. By default "
        "report.html in the run folder, or for several runs here.",
    )
    parser.add_argument(
        "--require",
        type=str,
        nargs="+",
        default=[],
        help="What must hold of every run, or the exit code is 1: 'accuracy>=0.98*teacher', "
        "'overlap@10>=0.5'. A number is a share where the measure is in per cent.",
    )
    parser.add_argument(
        "--junit", type=str | None, help="File to write the requirements into, as JUnit's XML."
    )
    options = parser.parse_args(list(arguments))
    required = [Requirement.parse(text) for text in options.require]
    if options.junit and not required:
        raise ValueError("--junit writes what --require asks: give requirements.")
    where = Path(options.runs[0]) if len(options.runs) == 1 else Path()
    page = write_report(options.runs, options.out or where / "report.html")
    size = page.stat().st_size / 1e6
    beside = f"{page.stem}.json and {page.stem}.md"
    print(printable(f"{page} ({size:.1f} MB), and its numbers in {beside}"))
    accounts = read_accounts(options.runs) if required else []
    checked = [check(account, one) for account in accounts for one in required]
    for one in checked:
        print(printable(f"{'holds' if one.holds else 'FAILS'}: {one.run}: {one.found}"))
    if options.junit:
        with replacing(Path(located(options.junit))) as file:
            file.write_text(as_junit(checked), encoding="utf-8")
    return int(not all(one.holds for one in checked))
