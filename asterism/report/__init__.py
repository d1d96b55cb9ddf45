"""The report on run folders: one HTML page, and its numbers as JSON and Markdown."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from asterism.report.account import Account, read_account
from asterism.report.charts import charts_of
from asterism.report.comparison import compare
from asterism.report.page import page
from asterism.report.summary import as_data, as_summary
from asterism.words import readable

__all__ = ["read_accounts", "render", "write_report"]


def read_accounts(runs: Sequence[str | Path]) -> list[Account]:
    """Read run folders, each once, named by what tells them apart.

    Raises:
        FileNotFoundError: If one is no finished run.
        RunError: If a file of one is damaged; the message names it.
    """
    paths = list(dict.fromkeys(Path(os.path.abspath(run)) for run in runs))
    above = Path(os.path.commonpath([path.parent for path in paths]))
    return [read_account(path, readable(path.relative_to(above), 80)) for path in paths]


def render(runs: Sequence[str | Path]) -> str:
    """Return the report on these runs as one HTML page that needs nothing but itself.

    Args:
        runs: Run folders; those with the same settings and other seeds are averaged in the table.

    Raises:
        FileNotFoundError: If one is no finished run.
        RunError: If a file of one is damaged; the message names it.
    """
    accounts = read_accounts(runs)
    return page(accounts, compare(accounts), [charts_of(a) for a in accounts], stem="report")


def write_report(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write the page, and beside it its numbers (.json) and a summary for a pull request (.md).

    Args:
        runs: Run folders.
        out: The page, NAME.html.

    Raises:
        FileNotFoundError: If one is no finished run.
        RunError: If a file of one is damaged; the message names it.
        ValueError: If `out` does not end in .html.
    """
    path = Path(out)
    if path.suffix != ".html":
        raise ValueError(f"the report is a page: its name must end in .html; got {path}.")
    accounts = read_accounts(runs)
    comparison = compare(accounts)
    charts = [charts_of(account) for account in accounts]
    data = as_data(accounts, comparison, charts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(as_summary(accounts, comparison), encoding="utf-8")
    path.write_text(page(accounts, comparison, charts, stem=path.stem), encoding="utf-8")
    return path
