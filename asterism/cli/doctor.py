"""`asterism doctor`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asterism.cli.parser import parse
from asterism.doctor import Finding, examine

STYLES = {"ok": "green", "look": "yellow", "wrong": "bold red"}


def run(arguments: Sequence[str]) -> int:
    """Look at a training before it begins; return 1 if something is wrong."""
    needed = ("teacher", "student", "data")
    options = parse(examine, arguments, required=needed, verb="doctor", formats=("table", "json"))
    form = options.pop("format")
    findings = examine(**options)
    if form == "json":
        json.dump([asdict(finding) for finding in findings], sys.stdout, indent=1)
        print()
    else:
        console = Console(width=None if Console().is_terminal else 160)
        console.print(_table(findings))
        console.print(_verdict(findings), highlight=False)
    return int(any(finding.severity == "wrong" for finding in findings))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table()
    for head in ("", "what", "found", "what to do"):
        table.add_column(head, overflow="fold")
    for finding in findings:
        state = Text(finding.severity, STYLES[finding.severity])
        table.add_row(state, *map(Text, (finding.subject, finding.found, finding.advice)))
    return table


def _verdict(findings: Sequence[Finding]) -> str:
    wrong, look = (sum(f.severity == x for f in findings) for x in ("wrong", "look"))
    if not wrong and not look:
        return "Nothing speaks against this training."
    return f"{wrong or 'Nothing'} wrong, {look or 'nothing'} to look at."
