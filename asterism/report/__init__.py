"""The report on run folders: one HTML page, and its numbers as JSON and Markdown."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from asterism.documents import read_file, replacing
from asterism.names import located
from asterism.report.account import Account, read_account
from asterism.report.charts import charts_of
from asterism.report.comparison import compare
from asterism.report.page import page
from asterism.report.summary import as_data, as_summary
from asterism.words import readable

# What a page of ours begins with (page.html.jinja).
OURS = b'<meta name="generator" content="asterism">'

__all__ = ["read_accounts", "render", "write_report"]


def read_accounts(runs: Sequence[str | Path]) -> list[Account]:
    """Read run folders, each once, named by what tells them apart.

    Raises:
        FileNotFoundError: If one is no finished run.
        RunError: If a file of one is damaged; the message names it.
    """
    paths = list(dict.fromkeys(Path(os.path.abspath(located(run))) for run in runs))
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
        ValueError: If `out` does not end in .html, or something else is there.
    """
    path = Path(located(out))
    if path.suffix != ".html" or path.is_dir():
        raise ValueError(f"the report is a page, a file that ends in .html; got {path}.")
    _refuse_others(path)
    accounts = read_accounts(runs)
    comparison = compare(accounts)
    charts = [charts_of(account) for account in accounts]
    data = as_data(accounts, comparison, charts)
    contents = {
        ".html": page(accounts, comparison, charts, stem=path.stem),
        ".json": json.dumps(data, indent=1) + "\n",
        ".md": as_summary(accounts, comparison),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix, content in contents.items():  # the page first: it says whose the others are
        with replacing(path.with_suffix(suffix)) as file:
            file.write_text(content, encoding="utf-8")
    return path


def _refuse_others(page: Path) -> None:
    """Raise a ValueError if what would be written over is no report of ours."""
    if page.name == "report.html" and (page.parent / "config.yaml").exists():
        return  # a run folder, where nothing else has these names
    there = [file for s in (".html", ".json", ".md") if (file := page.with_suffix(s)).exists()]
    ours = page.exists() and OURS in read_file(page)[:4096]
    if there and not ours:
        raise ValueError(
            f"{there[0]} is there, and is no report of asterism's: name another page (--out), or "
            "move that file."
        )
