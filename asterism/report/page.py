"""The page: one HTML file that carries its style, its script, its pictures and its numbers."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from asterism.report.account import GROUPS, Account, Measure
from asterism.report.charts import Chart, shown
from asterism.report.comparison import Comparison, brief, by_settings, heads
from asterism.report.decision import decision
from asterism.report.embedding_map import map_of
from asterism.report.examples import Query, queries
from asterism.report.pictures import Sheet, sheet
from asterism.report.remarks import facts, measured, remarks_on, top_sentence
from asterism.report.sample import Sample
from asterism.report.seeds import over_trainings
from asterism.words import MISSING, named_unit, number, readable, span

HERE = Path(__file__).parent
# What all pictures of a page may take; base64 makes a third more of it.
MOST_PICTURE_BYTES = 4_000_000
# Verdicts and remarks are told apart by shape and word, never by colour alone.
MARKS = {
    "better": "▲",
    "equal": "=",
    "cannot tell": "?",
    "worse": "▼",
    "no different": "=",  # of runs of older versions
}
KINDS = {"against": ("▼", "Against."), "open": ("◆", "Note."), "for": ("▲", "For.")}
QUERIES_READING = (
    "A row of the data and its nearest rows, nearest first. A dashed frame marks a neighbour that "
    "the other network does not show; ✗ marks one of another class than the query’s."
)


def page(
    accounts: Sequence[Account],
    comparison: Comparison,
    charts: Sequence[Sequence[Chart]],
    *,
    stem: str,
) -> str:
    """Return the page.

    Args:
        accounts: What the run folders tell.
        comparison: Their table.
        charts: The charts of each run.
        stem: Name of the files beside the page, without their ends.
    """
    sheets, sheet_of = _sheets(accounts)
    points = max(200, 20_000 // len(accounts))
    runs = [
        _run(account, run_charts, sheets, number_of_sheet, points)
        for account, run_charts, number_of_sheet in zip(accounts, charts, sheet_of, strict=True)
    ]
    data = [
        {
            "figures": {chart.kind: chart.data for chart in run["charts"]},
            "map": run["map"] and run["map"].data,
            "sheet": run["sheet"],
            "columns": None if run["sheet"] is None else sheets[run["sheet"]].columns,
            "sheetRows": None if run["sheet"] is None else sheets[run["sheet"]].rows,
        }
        for run in runs
    ]
    shortened = brief(comparison)
    library = _text("vendor/plot.js")
    script = _text("page.js")
    one = len(accounts) == 1
    return _template().render(
        title=f"{accounts[0].name}: can it be shipped?"
        if one
        else "Which of these can be shipped?",
        policy=_policy(library, script),
        css=Markup(_text("page.css")),
        library=Markup(library),
        script=Markup(script),
        data=Markup(_json(data)),
        sheets=sheets,
        runs=runs,
        comparison=shortened,
        over_seeds=over_trainings([*by_settings(accounts).values()]),
        heads=heads(shortened),
        stem=stem,
    )


def _run(
    account: Account, charts: Sequence[Chart], sheets: list[Sheet], which: int | None, points: int
) -> dict[str, Any]:
    sample = account.sample
    chosen = {} if sample is None else queries(sample)
    titles = {"worst": "The worst", "random": "Drawn at random"}
    groups = [(g, list(_once(m for m in account.measures if m.group == g))) for g in GROUPS]
    return {
        "account": account,
        "top_sentence": top_sentence(account),
        "facts": facts(account),
        "decision": decision(account),
        "remarks": remarks_on(account),
        "measured": measured(account),
        "groups": [(group, measures) for group, measures in groups if measures],
        "charts": charts,
        "sample": sample,
        "sheet": which,
        "styles": []
        if which is None
        else [Markup(sheets[which].style(i)) for i in range(len(sample or ()))],
        "map": None if sample is None else map_of(sample, most=points),
        "queries": [(titles[kind], examples) for kind, examples in chosen.items() if examples],
        "queries_reading": QUERIES_READING,
        "queries_head": ["query", "kept", "teacher’s neighbours", "student’s neighbours"],
        "queries_table": query_rows(sample, chosen),
        "settings": _settings(account),
    }


def _once(measures: Iterable[Measure]) -> Iterator[tuple[Measure, str | None]]:
    """Yield measures with their notes, each note the first time only."""
    said: set[str | None] = set()
    for measure in measures:
        yield measure, None if measure.note in said else measure.note
        said.add(measure.note)


def query_rows(sample: Sample | None, chosen: dict[str, list[Query]]) -> list[list[str]]:
    """Return the query examples as a table."""
    if sample is None:
        return []

    def name(row: int) -> str:
        label = "" if sample.labels is None else f" ({sample.labels[row]})"
        return readable(sample.texts[row] if sample.texts else sample.names[row], 60) + label

    return [
        [
            name(query.row),
            MISSING if query.kept is None else f"{number(100 * query.kept, '%')} %",
            "; ".join(name(near.row) for near in query.teacher) or MISSING,
            "; ".join(name(near.row) for near in query.student),
        ]
        for examples in chosen.values()
        for query in examples
    ]


def _settings(account: Account) -> list[list[str]]:
    config = {k: v for k, v in account.config.items() if k != "provenance"}
    provenance = account.config.get("provenance")
    config |= provenance if isinstance(provenance, dict) else {}
    return [["run folder", account.name]] + [
        [
            readable(key),
            readable(
                json.dumps(value, default=str) if isinstance(value, list | dict) else value, 400
            ),
        ]
        for key, value in config.items()
    ]


def _sheets(accounts: Sequence[Account]) -> tuple[list[Sheet], list[int | None]]:
    """Return the sheets of pictures, and which one each run shows: the same pictures once."""
    pictures = [None if a.sample is None else a.sample.thumbnails for a in accounts]
    keys = [
        None if p is None or not p.size else hashlib.sha256(p.tobytes()).hexdigest()
        for p in pictures
    ]
    distinct = {
        k: p for k, p in zip(keys, pictures, strict=True) if k is not None and p is not None
    }
    most = MOST_PICTURE_BYTES // max(len(distinct), 1)
    sheets = [sheet(p, most_bytes=most) for p in distinct.values()]
    order = list(distinct)
    return sheets, [None if k is None else order.index(k) for k in keys]


def _policy(*scripts: str) -> str:
    """Return a policy under which these scripts run and nothing is ever fetched.

    Styles may be inline: the sheets of pictures and the charts set some, and none can fetch.
    """
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(data: Any) -> str:
    """Return JSON that can stand in a script element: no end tag, no comment can begin in it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"named_unit": named_unit, "number": number, "readable": readable}
    environment.globals |= {
        "MARKS": MARKS,
        "KINDS": KINDS,
        "span": span,
        "shown": shown,
    }
    return environment.get_template("page.html.jinja")
