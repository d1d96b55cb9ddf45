"""Runs beside each other: a row for the same settings, mean and deviation over its seeds."""

import csv
import io
import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from asterism.names import portable
from asterism.options import Role, names_with
from asterism.report.account import Account, Estimate, Measure
from asterism.request import Request
from asterism.settings import Settings
from asterism.words import MISSING, csv_cell, markdown, named_unit, number, readable

# What makes a row of its own; an option that this version does not know may be one.
_NO_SETTING = names_with(Request, Settings, roles=frozenset(Role) - {Role.CONTENT, Role.EXPERIMENT})
_NO_SETTING |= {"provenance"}
CONTENTS = " contents"
_CONTENT = sorted(names_with(Request, roles=frozenset({Role.CONTENT})))

# The measures of a table that a screen can hold.
BRIEF = (
    "accuracy", "recall@1", "MAP@R", "neighbour overlap@10", "agreement", "distance correlation",
    "parameters", "throughput, batch of 64", "latency, batch of 1",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A measure of the table: its label, unit and which way is good (`higher`, `lower`, `none`)."""

    label: str
    unit: str
    better: str


@dataclass(frozen=True)
class Entry:
    """Mean over the runs of a row that have the measure, and their standard deviation."""

    mean: float | None
    deviation: float | None
    unit: str

    def __str__(self) -> str:
        if self.mean is None or not self.deviation:
            return number(self.mean, self.unit)
        return f"{number(self.mean, self.unit)} ± {number(self.deviation, self.unit)}"


@dataclass(frozen=True)
class Row:
    """Runs of the same settings.

    Attributes:
        name: The run's name, or what its runs' names have in common.
        method: What it was trained with.
        differs: The settings in which the rows of this table differ, in words.
        seeds: The seeds of its runs.
        cells: A cell for each column.
    """

    name: str
    method: str
    differs: str
    seeds: tuple[str, ...]
    cells: tuple[Entry, ...]


@dataclass(frozen=True)
class Comparison:
    """The table; each teacher of these runs is a row of its own at the end."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def differ(self) -> bool:
        """Return whether the rows differ in any setting but the method."""
        return any(row.differs for row in self.rows)


def compare(accounts: Sequence[Account]) -> Comparison:
    """Return the table of these runs: all measures that compare and that any of them has."""
    groups = by_settings(accounts)
    measures = {m.label: m for a in accounts for m in a.measures if m.student and _compares(m)}
    columns = tuple(Column(m.label, m.unit, m.better) for m in measures.values())
    settings = [_flat(json.loads(key)) for key in groups]
    names = dict.fromkeys(name for options in settings for name in options)
    differing = [n for n in names if len({str(f[n]) for f in settings if n in f}) > 1]
    # Data of another name have other contents as a matter of course, more devices more processes.
    implied = {n + CONTENTS for n in differing}
    implied |= {"processes"} if {"devices", "nodes"} & {*differing} else set()
    differing = [n for n in differing if n not in implied]
    rows = []
    for options, runs in zip(settings, groups.values(), strict=True):
        differs = ", ".join(f"{n} {readable(options[n], 40)}" for n in differing if n in options)
        seeds = tuple(readable(run.config.get("seed", MISSING), 12) for run in runs)
        values = [[_value(m.student) for m in _measures_of(runs, column)] for column in columns]
        cells = tuple(map(_cell, values, columns))
        rows.append(Row(_common(runs), method_of(runs[0]), readable(differs, 200), seeds, cells))
    for teacher in dict.fromkeys(str(a.config.get("teacher")) for a in accounts):
        runs = [a for a in accounts if str(a.config.get("teacher")) == teacher]
        values = [[_value(m.teacher) for m in _measures_of(runs[:1], column)] for column in columns]
        if any(v is not None for row in values for v in row):
            cells = tuple(map(_cell, values, columns))
            rows.append(Row(readable(f"teacher {portable(teacher)}"), "", "", (), cells))
    return Comparison(columns, tuple(rows))


def by_settings(accounts: Sequence[Account]) -> dict[str, list[Account]]:
    """Return the runs of the same settings together, by these as JSON."""
    groups: dict[str, list[Account]] = {}
    for account in accounts:
        kept = {k: v for k, v in account.config.items() if k not in _NO_SETTING}
        kept |= _circumstances(account)
        groups.setdefault(json.dumps(kept, sort_keys=True, default=str), []).append(account)
    return groups


def _circumstances(account: Account) -> dict[str, Any]:
    """Return what makes another experiment of the same settings: contents read, and processes."""
    known = account.config.get("provenance")
    known = known if isinstance(known, dict) else {}
    read = {name + CONTENTS: known[name] for name in _CONTENT if known.get(name) is not None}
    # A launcher may have started them, of which the settings say nothing.
    return {**read, "processes": known["processes"]} if "processes" in known else read


def brief(comparison: Comparison) -> Comparison:
    """Return the table with the measures that say most, in their order; with all if it has none."""
    position = {column.label: i for i, column in enumerate(comparison.columns)}
    kept = [position[label] for label in BRIEF if label in position] or list(position.values())
    return Comparison(
        tuple(comparison.columns[i] for i in kept),
        tuple(replace(row, cells=tuple(row.cells[i] for i in kept)) for row in comparison.rows),
    )


def _compares(measure: Measure) -> bool:
    return measure.better != "none" and measure.k in (None, 1, 10)


def _measures_of(runs: Sequence[Account], column: Column) -> list[Measure]:
    return [m for run in runs for m in run.measures if m.label == column.label]


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _cell(values: Sequence[float | None], column: Column) -> Entry:
    known = [value for value in values if value is not None]
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Entry(statistics.fmean(known) if known else None, deviation, column.unit)


def _common(runs: Sequence[Account]) -> str:
    names = [run.name for run in runs]
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    shared = "".join(letters[0] for letters in same).rstrip("_-. ")
    if len(names) == 1 or not shared or shared.endswith("/"):
        return readable(", ".join(names), 80)
    return readable(shared) + " …"


def method_of(account: Account) -> str:
    """Return what a run was trained with, in words."""
    methods = account.config.get("method") or []
    names = [str(m.get("class_path", "?")) if isinstance(m, dict) else str(m) for m in methods]
    return readable(" + ".join(name.rpartition(".")[2] for name in names) or "labels only")


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings by name, the options of methods as `RKD.angle_weight`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key != "method" or not isinstance(value, list):
            flat["student" if key == "model" else key] = value
            continue
        for method in value:
            name = str(method["class_path"]).rpartition(".")[2]
            flat |= {f"{name}.{option}": v for option, v in (method.get("init_args") or {}).items()}
    return flat


def plain(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the rows as plain values."""
    return [
        {
            **{k: v for k, v in asdict(row).items() if k != "cells"},
            "measures": {
                column.label: {"mean": cell.mean, "sd": cell.deviation, "unit": column.unit}
                for column, cell in zip(comparison.columns, row.cells, strict=True)
            },
        }
        for row in comparison.rows
    ]


def heads(comparison: Comparison) -> list[str]:
    """Return the heads of the table's columns."""
    named = ["run", "method", *(["differs in"] if comparison.differ else []), "seeds"]
    return [*named, *(column.label + named_unit(column.unit) for column in comparison.columns)]


def lines(comparison: Comparison) -> list[list[str]]:
    """Return the table's rows as texts, one for each of the heads."""
    return [
        [
            row.name,
            row.method,
            *([row.differs or MISSING] if comparison.differ else []),
            ", ".join(row.seeds),
            *map(str, row.cells),
        ]
        for row in comparison.rows
    ]


def as_csv(comparison: Comparison) -> str:
    """Return the table as CSV, in full precision, a column each for mean and deviation."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["run", "method", "differs in", "seeds"]
        + [csv_cell(head) for c in comparison.columns for head in (c.label, f"{c.label} sd")]
    )
    for row in comparison.rows:
        values = [v for cell in row.cells for v in (cell.mean, cell.deviation)]
        named = (row.name, row.method, row.differs, " ".join(row.seeds))
        writer.writerow([*map(csv_cell, named), *values])
    return text.getvalue()


def as_markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table as Markdown; what other people's texts mark up is shown, not obeyed."""
    written = [[markdown(cell) for cell in line] for line in ([*head], *rows)]
    written.insert(1, ["---"] * len(written[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in written)
