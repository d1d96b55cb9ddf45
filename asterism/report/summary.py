"""The same report for machines (JSON) and for a pull request (Markdown)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asterism.report.account import Account, Estimate, Measure
from asterism.report.charts import Figure
from asterism.report.comparison import Comparison, as_markdown, brief, heads, lines, markdown, plain
from asterism.report.examples import queries
from asterism.report.remarks import findings, headline, measured
from asterism.words import MISSING, named_unit, number, span

_SIGNS = {"against": "▼", "open": "◆", "for": "▲"}


def as_data(
    accounts: Sequence[Account], comparison: Comparison, drawn: Sequence[Sequence[Figure]]
) -> dict[str, Any]:
    """Return the report's numbers as plain values."""
    runs = []
    for account, figures in zip(accounts, drawn, strict=True):
        chosen = {} if account.sample is None else queries(account.sample)
        runs.append(
            {
                "run": str(account.path),
                "name": account.name,
                "headline": headline(account),
                "findings": [asdict(finding) for finding in findings(account)],
                "split": account.split,
                "sampling": account.sampling,
                "measures": [asdict(measure) for measure in account.measures],
                "per_class": [asdict(one) for one in account.classes],
                "figures": {f.kind: {"head": f.head, "rows": f.rows} for f in figures},
                "queries": {kind: [asdict(q) for q in found] for kind, found in chosen.items()},
            }
        )
    return {"comparison": plain(comparison), "runs": runs}


def as_summary(accounts: Sequence[Account], comparison: Comparison) -> str:
    """Return a summary in Markdown."""
    parts = []
    if len(accounts) > 1:
        shortened = brief(comparison)
        parts.append("## Runs\n\n" + as_markdown(heads(shortened), lines(shortened)))
    for account in accounts:
        said = [f"## {markdown(account.name)}", f"**{markdown(headline(account))}**"]
        said.append(
            "".join(f"- {_SIGNS[f.kind]} {markdown(f.text)}\n" for f in findings(account)).rstrip()
        )
        head = ["measure", "student", "teacher", *account.baselines]
        rows = [_row(measure, account.baselines) for measure in account.measures]
        table = as_markdown(head, rows) + f"\n{markdown(measured(account))}\n"
        said.append(f"<details><summary>Every measure</summary>\n\n{table}\n</details>")
        parts.append("\n\n".join(said) + "\n")
    return "\n".join(parts)


def _row(measure: Measure, baselines: Sequence[str]) -> list[str]:
    found = [measure.student, measure.teacher, *map(measure.baselines.get, baselines)]
    return [
        measure.label + named_unit(measure.unit),
        *(_cell(estimate, measure.unit) for estimate in found),
    ]


def _cell(found: Estimate | None, unit: str) -> str:
    if found is None or found.value is None:
        return MISSING
    interval = span(found.low, found.high, unit)
    shown = number(found.value, unit) + (f" ({interval})" if interval else "")
    return f"{shown} {found.verdict}" if found.verdict else shown
