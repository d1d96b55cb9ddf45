"""Tests for recipes/*.yaml: every option is known, every name means something, a cell trains."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from asterism import recipe
from asterism.bench import read_grid
from asterism.cli.parser import parse
from asterism.engine import Settings
from asterism.models import Spec, build

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
VERBS = {"distill": recipe.distill, "train": recipe.train}

each_file = pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)


def first_seed(file):
    grid = read_grid(file)
    return [cell for cell in grid.cells if cell.seed == grid.cells[0].seed]


def parsed(cell, folder):
    config = folder / "cell.yaml"
    config.write_text(yaml.safe_dump(cell.settings))
    return parse(VERBS[cell.verb], ["--config", str(config)], required=("data",))


@each_file
def test_every_cell_is_understood(file, tmp_path):
    for cell in first_seed(file):
        options = parsed(cell, tmp_path)
        given = {field.name: options[field.name] for field in fields(Settings)}
        assert Settings(**given).epochs == cell.settings["epochs"]
        assert options["seed"] == cell.seed
        build(options.get("student", options.get("model")), Spec(10, (3, 32, 32)))


@each_file
def test_the_papers_figures_are_of_rows_that_exist(file):
    grid = read_grid(file)
    assert set(grid.paper) <= set(grid.pairs)
    for figures in grid.paper.values():
        assert set(figures) <= set(grid.methods)


@each_file
def test_its_teacher_is_made_by_the_command_in_its_comment(file):
    commands = re.findall(
        r"^#   asterism train (.*(?:(?<=\\)\n.*)*)", file.read_text(), re.MULTILINE
    )
    teachers = {c.settings["teacher"] for c in first_seed(file) if c.verb == "distill"}
    made = set()
    for command in commands:
        options = parse(
            recipe.train, shlex.split(command.replace("\\\n#", "")), required=("model",)
        )
        build(options["model"], Spec(10, (3, 32, 32)))
        made.add(options["out"])
    assert made == {teacher for teacher in teachers if teacher.startswith("runs/")}


def kinds():
    """Return a cell of each file, and one of every method with its options and views."""
    seen, chosen = set(), []
    for file in RECIPES:
        cells = {}
        for cell in first_seed(file):
            if cell.verb == "distill":
                kind = json.dumps([cell.settings["method"], cell.settings.get("train_views")])
                cells.setdefault(kind, cell)
        new = [kind for kind in cells if kind not in seen] or [max(cells, key=len)]
        chosen += [pytest.param(cells[kind], id=f"{file.stem}: {cells[kind]}") for kind in new]
        seen.update(new)
    return chosen


@pytest.mark.parametrize("cell", kinds())
def test_a_cell_trains(cell, tmp_path):
    """Two steps on random images, with small untrained networks."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x=images, y=np.arange(80) % 10)
    options = parsed(cell, tmp_path)
    for name in ("data", "validation_data", "test_data"):
        if options[name] is not None:
            options[name] = str(tmp_path / "data.npz")
    options |= {"validation_share": 0.5, "batch_size": 16, "limit_steps": 2}
    options |= {"out": tmp_path / "run", "teacher_cache": None}
    options["teacher"] = build("convnet?width=8", Spec(10, (3, 32, 32)))
    options["student"] = "convnet?width=4"
    result = recipe.distill(**options)
    assert result.evaluation["steps"] == 2
    assert result.accuracy is not None
