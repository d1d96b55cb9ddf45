"""A grid of methods, pairs of models and seeds over one data source (`asterism bench`)."""

import csv
import io
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asterism.run import Run


@dataclass(frozen=True)
class Cell:
    """One training of the grid.

    Attributes:
        method: Name of the row.
        pair: Name of the column.
        seed: Seed.
        verb: `train` or `distill`.
        settings: The options of the verb.
    """

    method: str
    pair: str
    seed: int
    verb: str
    settings: dict[str, Any]

    @property
    def run(self) -> Run:
        """Return the cell's run folder."""
        return Run(self.settings["out"])

    def finished(self) -> bool:
        """Return whether the cell has a result, made with these settings.

        Raises:
            ValueError: If the result was made with other settings.
        """
        if not (self.run.path / "result.json").exists():
            return False
        before = self.run.read_config()
        for key, value in self.settings.items():
            if key not in ("out", "method") and before.get(key) != value:
                raise ValueError(
                    f"{self.run.path} was finished with {key} {before.get(key)!r}, and the grid "
                    f"now says {value!r}: name another `out`, or delete that folder."
                )
        return True


@dataclass(frozen=True)
class Grid:
    """What a bench file describes.

    Attributes:
        cells: All trainings, seed by seed, so that a first seed of everything is there early.
        methods: Names of the rows, in the order of the file.
        pairs: Names of the columns.
        paper: The paper's figure by pair and method, where the recipe is a paper's.
        out: The folder of all cells.
    """

    cells: tuple[Cell, ...]
    methods: tuple[str, ...]
    pairs: tuple[str, ...]
    paper: dict[str, dict[str, float]]
    out: Path


def read_grid(file: Path) -> Grid:
    """Read a bench file (docs/bench.md).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not describe a grid.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no bench file at {file}.")
    try:
        given = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no YAML: {' '.join(str(error).split())}.") from error
    known = {"out", "common", "pairs", "methods", "seeds", "paper"}
    if not isinstance(given, dict) or set(given) - known or not {"pairs", "methods"} <= set(given):
        raise ValueError(
            f"{file} must have `pairs` (name: {{teacher, student}}) and `methods` (name: options), "
            "and may have `common`, `seeds`, `out` and `paper`; it has "
            f"{', '.join(map(str, given)) if isinstance(given, dict) else 'none of them'}."
        )
    out = Path(given.get("out") or Path("runs") / file.stem)
    cells = [
        _cell(method, options or {}, pair, models, int(seed), given.get("common") or {}, out)
        for seed in given.get("seeds", [0])
        for pair, models in given["pairs"].items()
        for method, options in given["methods"].items()
    ]
    rows, columns = tuple(given["methods"]), tuple(given["pairs"])
    return Grid(tuple(cells), rows, columns, given.get("paper") or {}, out)


def _cell(
    method: str,
    options: dict[str, Any],
    pair: str,
    models: dict[str, str],
    seed: int,
    common: dict[str, Any],
    out: Path,
) -> Cell:
    folder = out / "_".join(re.sub(r"\W+", "-", x.lower()).strip("-") for x in (pair, method))
    settings = {**common, **options, "seed": seed, "out": f"{folder}_{seed}"}
    if "method" in options:
        return Cell(method, pair, seed, "distill", {**settings, **models})
    settings.pop("teacher_cache", None)
    return Cell(method, pair, seed, "train", {**settings, "model": models["student"]})


def run_grid(grid: Grid, *, say: Callable[[str], None], extra: tuple[str, ...] = ()) -> list[str]:
    """Run all cells that nobody has finished or is running; return what broke, in words.

    Each cell is a process of its own, so that one that dies takes nothing with it. Several of
    these calls, in several processes, share the work: a run folder has one owner at a time.
    """
    broken: dict[Path, str] = {}
    while True:
        waiting = [c for c in grid.cells if not c.finished() and c.run.path not in broken]
        free = [cell for cell in waiting if not cell.run.in_use()]
        if not waiting:
            return list(broken.values())
        if not free:
            time.sleep(5)  # others are at work on the rest; if one dies, its cell is taken over
            continue
        cell = free[0]
        say(f"{cell.pair}, {cell.method}, seed {cell.seed}")
        grid.out.mkdir(parents=True, exist_ok=True)
        # Named by the process: another one may be about to try the same cell.
        config = grid.out / f".{Path(cell.settings['out']).name}.{os.getpid()}.yaml"
        config.write_text(yaml.safe_dump(cell.settings))
        command = [sys.executable, "-m", "asterism", cell.verb, "--config", str(config)]
        command += ["--resume", *(["--no-report"] if cell.verb == "distill" else [])]
        done = subprocess.run([*command, *extra], capture_output=True, text=True)
        config.unlink(missing_ok=True)
        if done.returncode and "is in use by a run" not in done.stderr:
            words = (done.stderr.strip().splitlines() or ["killed"])[-1]
            broken[cell.run.path] = f"{cell.run.path}: {words}"
            say(f"  broken: {words}")


def results(grid: Grid) -> Iterator[dict[str, Any]]:
    """Yield a row of plain values for each method and pair: means and deviations over seeds."""
    for pair in grid.pairs:
        plain = [c for c in grid.cells if c.pair == pair and c.verb == "train"]
        base = [c.run.read_result()["seconds_per_step"] for c in plain if c.finished()]
        for method in grid.methods:
            cells = [c for c in grid.cells if (c.pair, c.method) == (pair, method)]
            found = [c.run.read_result() for c in cells if c.finished()]
            cost = [r["seconds_per_step"] for r in found]
            row: dict[str, Any] = {"pair": pair, "method": method, "seeds": len(found)}
            for name, values in (
                ("accuracy", [_top1(r) for r in found]),
                ("recall@1", [_recall(r) for r in found]),
                ("agreement", [r.get("fidelity", {}).get("agreement") for r in found]),
            ):
                known = [100 * v for v in values if v is not None]
                row[name] = statistics.mean(known) if known else None
                row[f"{name} sd"] = statistics.stdev(known) if len(known) > 1 else None
            relative = bool(base and cost)
            row["cost"] = statistics.mean(cost) / statistics.mean(base) if relative else None
            row["paper"] = grid.paper.get(pair, {}).get(method)
            yield row


def _top1(result: dict[str, Any]) -> float | None:
    found: float | None = result["student"].get("classification", {}).get("top1")
    return found


def _recall(result: dict[str, Any]) -> float | None:
    found: float | None = result["student"].get("retrieval", {}).get("recall", {}).get("1")
    return found


def as_markdown(grid: Grid) -> str:
    """Return the table as Markdown."""
    lines = [
        "| pair | method | seeds | accuracy % | recall@1 % | agreement % | cost | paper |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results(grid):
        cells = [
            "–" if row[name] is None else f"{row[name]:.1f}" + _spread(row[f"{name} sd"])
            for name in ("accuracy", "recall@1", "agreement")
        ]
        cost = "–" if row["cost"] is None else f"{row['cost']:.2f}×"
        paper = "–" if row["paper"] is None else str(row["paper"])
        names = f"| {row['pair']} | {row['method']} | {row['seeds']} | "
        lines.append(names + " | ".join([*cells, cost, paper]) + " |")
    return "\n".join(lines) + "\n"


def _spread(deviation: float | None) -> str:
    return "" if deviation is None else f" ± {deviation:.1f}"


def as_csv(grid: Grid) -> str:
    """Return the table as CSV, unrounded."""
    rows = list(results(grid))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_tables(grid: Grid) -> None:
    """Write table.md and table.csv into the grid's folder."""
    grid.out.mkdir(parents=True, exist_ok=True)
    (grid.out / "table.md").write_text(as_markdown(grid))
    (grid.out / "table.csv").write_text(as_csv(grid))
