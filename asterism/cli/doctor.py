"""`asterism doctor`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from asterism.cli.requests import parse_request
from asterism.cli.screen import Screen

if TYPE_CHECKING:
    from asterism.doctor import Finding

STYLES = {"ok": "green", "look": "yellow", "wrong": "bold red"}


def run(arguments: Sequence[str]) -> int:
    """Look at a training before it begins; return 1 if something is wrong."""
    request, form = parse_request("doctor", arguments, formats=("table", "json"))
    from asterism.recipe import examined  # here: help needs nothing of what trains

    findings = examined(request)
    if form == "json":
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        console = Screen(wide=120)
        console.print(_table(findings))
        console.print(_verdict(findings))
    return int(any(finding.severity == "wrong" for finding in findings))


def _table(findings: "Sequence[Finding]") -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        style = STYLES[finding.severity]
        text = Text(finding.found)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", style)
        table.add_row(Text(finding.severity, style), Text(finding.subject), text)
    return table


def _verdict(findings: "Sequence[Finding]") -> str:
    wrong, look = (sum(f.severity == x for f in findings) for x in ("wrong", "look"))
    if not wrong and not look:
        return "\nNothing speaks against this training."
    return f"\n{wrong or 'Nothing'} wrong, {look or 'nothing'} to look at."
