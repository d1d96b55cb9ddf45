"""Tests for recipes/*.yaml: every option is known, every name means something, a cell trains."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from asterism.bench import read_grid
from asterism.cli.requests import parse_request
from asterism.data.archives import LAYOUTS
from asterism.models import Spec, build
from asterism.names import split_name
from asterism.training import carry_out

ROOT = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(ROOT.glob("*.yaml"))
DATA = ("data", "validation_data", "test_data")
# The papers' tables: too many to train a cell of each, and on data that are not here.
PAPERS = sorted(ROOT.glob("papers/*.yaml"))

each_file = pytest.mark.parametrize("file", [*RECIPES, *PAPERS], ids=lambda path: path.stem)


def built(name, classes=10):
    """Build a network of ours, by name, without its weights' memory; others' come from the net."""
    if not split_name(name)[0].startswith(("timm/", "torchvision/")):
        with torch.device("meta"):
            build(name, Spec(classes, (3, 32, 32)))


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
    cells = first_seed(file)
    # In a table of many pairs, the methods of the first pair and the first method of each.
    first = {cells[0].pair, cells[0].method}
    for cell in [c for c in cells if file in RECIPES or {c.pair, c.method} & first]:
        request = parsed(cell, tmp_path)
        assert request.settings.epochs == cell.settings["epochs"]
        assert request.settings.seed == cell.seed
    for name in {c.settings.get("student", c.settings.get("model")) for c in cells}:
        built(name)


@pytest.mark.parametrize("file", PAPERS, ids=lambda path: path.stem)
def test_a_papers_data_and_published_teachers_are_known(file):
    grid = read_grid(file)
    options = [*grid.probes.values(), *(cell.settings for cell in grid.cells)]
    for name in {o[key] for o in options for key in DATA if key in o}:
        place, arguments = split_name(name)
        layout = LAYOUTS[place.partition(":")[0]]
        assert arguments.get("split", layout.splits[0]) in layout.splits
    for teacher in {cell.settings.get("teacher") for cell in grid.cells if not cell.teacher}:
        base, arguments = split_name(teacher or "runs/none")
        if not base.startswith("runs/"):
            built(base)
            assert set(arguments) <= {"weights", "normalised"}


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
    cells = [c for c in first_seed(file) if c.verb == "distill" and c.teacher is None]
    teachers = {c.settings["teacher"] for c in cells}
    made = set()
    for command in commands:
        request, _ = parse_request("train", shlex.split(command.replace("\\\n#", "")))
        built(request.student)
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
