"""Tests for recipes/*.yaml: every option is known, every name means something, a cell trains."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from asterism.bench import read_grid
from asterism.cli.requests import parse_request
from asterism.models import Spec, build
from asterism.training import carry_out

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))

each_file = pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)


def first_seed(file):
    grid = read_grid(file)
    return [cell for cell in grid.cells if cell.seed == grid.cells[0].seed]


def parsed(cell, folder):
    config = folder / "cell.yaml"
    config.write_text(yaml.safe_dump(cell.settings))
    request, _ = parse_request(cell.verb, ["--config", str(config)])
    return request


@each_file
def test_every_cell_is_understood(file, tmp_path):
    for cell in first_seed(file):
        request = parsed(cell, tmp_path)
        assert request.settings.epochs == cell.settings["epochs"]
        assert request.settings.seed == cell.seed
        build(request.student, Spec(10, (3, 32, 32)))


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
        request, _ = parse_request("train", shlex.split(command.replace("\\\n#", "")))
        build(request.student, Spec(10, (3, 32, 32)))
        made.add(request.out)
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
    request = parsed(cell, tmp_path)
    parts = ("data", "validation_data", "test_data")
    given = {name: str(tmp_path / "data.npz") for name in parts if getattr(request, name)}
    settings = replace(request.settings, batch_size=16, limit_steps=2)
    request = replace(
        request,
        **given,
        settings=settings,
        validation_share=0.5,
        out=tmp_path / "run",
        teacher_cache=None,
        teacher=build("convnet?width=8", Spec(10, (3, 32, 32))),
        student="convnet?width=4",
    )
    result = carry_out(request)
    assert result.evaluation["steps"] == 2
    assert (result.accuracy is None) == (not request.labels)
