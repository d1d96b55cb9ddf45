"""Tune each method on validation rows, then train it with several seeds and read the test rows.

    python -m benchmarks.default recipes/default/TASK.yaml DATA TEACHER OUT [--seeds 0 1 2 3 4]
        [--only METHOD …] [--choose-only | --table]

A grid names the task (a module beside this one), the student, settings that all share, and
methods, each with its alternatives; `tries` are crossed with them, so that every method has the
same number of tries. `recipe` is the exception: one setting, the same in all grids. Each cell is a
file in OUT; what is there is not done again. DATA is the folder with the task's data, TEACHER the
teacher's weights.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
import yaml
from torch import nn

import asterism.methods
from asterism import Method
from benchmarks.default.table import Rows, table

Figures = Callable[[Rows], dict[str, float]]


class Task(Protocol):
    """What is trained, on what, and how it is measured."""

    def train(self, methods: list[Method], settings: dict[str, Any], seed: int) -> nn.Module:
        """Return a student trained on the training rows less the validation rows."""

    def rows(self, student: nn.Module, part: str) -> Rows:
        """Return values per row of a part, `choice` (cut from the training rows) or `test`."""

    def references(self) -> dict[str, nn.Module]:
        """Return models to set beside the students: the teacher, an untrained student."""


@dataclass(frozen=True)
class Try:
    """One way to run a method."""

    name: str
    methods: dict[str, dict[str, Any]]
    settings: dict[str, Any]

    def built(self) -> list[Method]:
        """Return new methods."""
        known = vars(asterism.methods)
        return [known[name.split()[0]](**(options or {})) for name, options in self.methods.items()]


@dataclass(frozen=True)
class Grid:
    """A recipe file."""

    task: str
    student: str
    settings: dict[str, Any]
    tries: list[dict[str, Any]]
    recipe: dict[str, dict[str, Any]]
    methods: dict[str, list[dict[str, dict[str, Any]]]]

    def of(self, name: str) -> list[Try]:
        """Return a method's tries."""
        if name == "recipe":
            return [Try(name, self.recipe, self.settings)]
        return [
            Try(f"{name} {a}.{t}", methods, {**self.settings, **each})
            for a, methods in enumerate(self.methods[name])
            for t, each in enumerate(self.tries)
        ]


def cell(
    task: Task, figures: Figures, out: Path, each: Try, part: str, seed: int
) -> dict[str, Any]:
    """Train, measure and write one cell, or read it."""
    file = out / f"{part}_{each.name.replace(' ', '_')}_{seed}"
    stored = file.with_name(f"{file.name}.json")
    if not stored.exists():
        torch.manual_seed(seed)
        begun = time.process_time()
        student = task.train(each.built(), each.settings, seed)
        seconds = time.process_time() - begun
        rows = task.rows(student.eval(), part)
        if part == "test":
            np.savez_compressed(file.with_name(f"{file.name}.npz"), **cast(Any, rows))
        found = {**figures(rows), "seconds": round(seconds, 1), "try": asdict(each)}
        stored.write_text(json.dumps(found, indent=1))
        print(part, each.name, seed, {k: v for k, v in found.items() if k != "try"}, flush=True)
    return cast(dict[str, Any], json.loads(stored.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("grid", "data", "teacher", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--choose-only", action="store_true")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    grid = Grid(**yaml.safe_load(asked.grid.read_text()))
    out = asked.out / asked.grid.stem
    out.mkdir(parents=True, exist_ok=True)
    if asked.table:
        print(table(out, grid.task, asked.seeds))
        return
    module = importlib.import_module(f"benchmarks.default.{grid.task}")
    task: Task = module.open_task(asked.data, asked.teacher, grid.student, out)
    for name, model in task.references().items():
        file = out / f"reference_{name}.json"
        if not file.exists():
            file.write_text(json.dumps(module.figures(task.rows(model, "test"))))
    names = asked.only or ["recipe", *grid.methods]
    of = {name: grid.of(name) for name in names}
    choose_and_test(task, module.figures, out, of, [] if asked.choose_only else asked.seeds)


def choose_and_test(
    task: Task, figures: Figures, out: Path, of: dict[str, list[Try]], seeds: list[int]
) -> None:
    """Try each method's settings with one seed, and test the best with each of several."""
    best = {}
    for name, tries in of.items():
        scores = [cell(task, figures, out, each, "choice", 0)["score"] for each in tries]
        best[name] = tries[int(np.argmax(scores))]
    for seed in seeds:
        for name, chosen in best.items():
            each = Try(name, chosen.methods, chosen.settings)
            cell(task, figures, out, each, "test", seed)


if __name__ == "__main__":
    main()
