"""The same report for machines (JSON) and for a pull request (Markdown)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asterism.report.account import Account, Estimate, Measure
from asterism.report.charts import Chart
from asterism.report.comparison import (
    Comparison,
    as_markdown,
    brief,
    by_settings,
    heads,
    lines,
    plain,
)
from asterism.report.decision import decision
from asterism.report.examples import queries
from asterism.report.remarks import Remark, measured, remarks_on, top_sentence
from asterism.report.seeds import over_trainings
from asterism.words import MISSING, markdown, named_unit, number, span

_SIGNS = {"against": "▼", "open": "◆", "for": "▲"}


def as_data(
    accounts: Sequence[Account], comparison: Comparison, charts: Sequence[Sequence[Chart]]
) -> dict[str, Any]:
    """Return the report's numbers as plain values."""
    runs = []
    for account, run_charts in zip(accounts, charts, strict=True):
        chosen = {} if account.sample is None else queries(account.sample)
        runs.append(
            {
                "name": account.name,
                "headline": top_sentence(account),
                "decision": [asdict(remark) for remark in decision(account)],
                "findings": [asdict(remark) for remark in remarks_on(account)],
                "data": list(account.data),
                "split": account.split,
                "sampling": account.sampling,
                "measures": [asdict(measure) for measure in account.measures],
                "per_class": [asdict(one) for one in account.classes],
                "figures": {
                    chart.kind: {"head": chart.head, "rows": chart.rows} for chart in run_charts
                },
                "queries": {
                    kind: [asdict(q) for q in examples] for kind, examples in chosen.items()
                },
            }
        )
    return {
        "comparison": plain(comparison),
        "over_seeds": [asdict(remark) for remark in _over_seeds(accounts)],
        "runs": runs,
    }


def as_summary(accounts: Sequence[Account], comparison: Comparison) -> str:
    """Return a summary in Markdown."""
    parts = []
    if len(accounts) > 1:
        shortened = brief(comparison)
        parts.append("## Runs\n\n" + as_markdown(heads(shortened), lines(shortened)))
        parts += [f"{_list(trained)}\n"] if (trained := _over_seeds(accounts)) else []
    for account in accounts:
        said = [f"## {markdown(account.name)}", f"**{markdown(top_sentence(account))}**"]
        said.append(_list(decision(account)))
        if account.data:
            said.append("".join(f"- {markdown(line)}\n" for line in account.data).rstrip())
        head = ["measure", "student", "teacher", *account.baselines]
        rows = [_row(measure, account.baselines) for measure in account.measures]
        table = as_markdown(head, rows) + f"\n{markdown(measured(account))}\n"
        table += f"\n{_list(remarks_on(account))}\n"
        said.append(f"<details><summary>Every measure</summary>\n\n{table}\n</details>")
        parts.append("\n\n".join(said) + "\n")
    return "\n".join(parts)


def _over_seeds(accounts: Sequence[Account]) -> list[Remark]:
    return over_trainings([*by_settings(accounts).values()])


def _list(remarks: Sequence[Remark]) -> str:
    return "\n".join(f"- {_SIGNS[remark.kind]} {markdown(remark.text)}" for remark in remarks)


def _row(measure: Measure, baselines: Sequence[str]) -> list[str]:
    estimates = [measure.student, measure.teacher, *map(measure.baselines.get, baselines)]
    return [
        measure.label + named_unit(measure.unit),
        *(_cell(estimate, measure.unit) for estimate in estimates),
    ]


def _cell(estimate: Estimate | None, unit: str) -> str:
    if estimate is None or estimate.value is None:
        return MISSING
    interval = span(estimate.low, estimate.high, unit)
    shown = number(estimate.value, unit) + (f" ({interval})" if interval else "")
    return f"{shown} {estimate.verdict}" if estimate.verdict else shown
