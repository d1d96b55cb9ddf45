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
from archives import WRITERS

from asterism.bench import read_grid
from asterism.cli.requests import parse_request
from asterism.data import open_source
from asterism.data.archives import LAYOUTS
from asterism.models import Spec, build
from asterism.names import split_name
from asterism.training import carry_out

ROOT = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(ROOT.glob("*.yaml"))
DATA = ("data", "validation_data", "test_data")
# The papers' tables: on data that are not here, and as far as they have a network of their own.
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


def commands(file):
    """Return the requests of the commands in a recipe's comment: they make its teachers."""
    written = re.findall(
        r"^#   asterism train (.*(?:(?<=\\)\n.*)*)", file.read_text(), re.MULTILINE
    )
    return [parse_request("train", shlex.split(c.replace("\\\n#", "")))[0] for c in written]


@each_file
def test_its_teacher_is_made_by_the_command_in_its_comment(file):
    cells = [c for c in first_seed(file) if c.verb == "distill" and c.teacher is None]
    teachers = {c.settings["teacher"] for c in cells}
    requests = commands(file)
    for request in requests:
        built(request.student)
    assert {request.out for request in requests} == {t for t in teachers if t.startswith("runs/")}


def kind(cell):
    """Return what of a cell's methods is new code to run: who they are, and which options."""
    asked = cell.settings["method"]
    each = asked if isinstance(asked, list) else [asked]
    each = [m if isinstance(m, dict) else {"class_path": m} for m in each]
    said = [[m["class_path"], *sorted(m.get("init_args", {}))] for m in each]
    return json.dumps([said, cell.settings.get("train_views"), cell.settings.get("loss")])


def kinds():
    """Return a cell of each file, and one of every kind."""
    seen, chosen = set(), []
    for file in [*RECIPES, *PAPERS]:
        cells = {}
        for cell in first_seed(file):
            if cell.verb == "distill":
                cells.setdefault(kind(cell), cell)
        new = [k for k in cells if k not in seen] or [max(cells, key=len)]
        chosen += [pytest.param(cells[k], id=f"{file.stem}: {cells[k]}") for k in new]
        seen.update(new)
    return chosen


def write(name):
    """Write what stands in for a recipe's data: its archive, or random images."""
    kind, _, place = split_name(name)[0].rpartition(":")
    if Path(place).exists():
        return
    Path(place).parent.mkdir(exist_ok=True)
    if kind:
        more = {"characters": 4} if kind == "omniglot" else {}
        WRITERS[kind](Path(place), each=20, **more)
    else:
        images = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
        np.savez(place, x=images, y=np.arange(80) % 10)


@pytest.mark.parametrize("cell", kinds())
def test_a_cell_trains(cell, tmp_path, monkeypatch):
    """Two steps with small untrained networks, on data in the form of the recipe's."""
    monkeypatch.chdir(tmp_path)
    for part in DATA:
        if part in cell.settings:
            write(cell.settings[part])
    request = parsed(cell, tmp_path)
    size = request.image_size and 8
    source = open_source(request.data, image_size=size)
    spec = Spec(len(source.names or range(10)), tuple(source.__getitems__([0]).views[0].shape[1:]))
    asked = split_name(request.student)[1]
    head = [f"{key}={asked[key]}" for key in ("dim", "unit") if key in asked]
    settings = request.settings
    settings = replace(
        settings,
        batch_size=2 * (settings.samples_per_class or 8),
        steps_per_epoch=settings.steps_per_epoch and 2,
        limit_steps=2,
        devices=1,
    )
    request = replace(
        request,
        settings=settings,
        image_size=size,
        validation_share=0.5,
        out=tmp_path / "run",
        teacher_cache=None,
        teacher=build("convnet?width=8", spec),
        student="?".join(["convnet", "&".join(["width=4", *head])]),
        check=False,
        report=False,
    )
    result = carry_out(request)
    assert result.evaluation["steps"] == 2
    assert (result.accuracy is None) == (not request.labels or not settings.of_scores)
