"""Tests for asterism/training/models.py: what a user's names and settings come to."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import asterism
from asterism import recipe
from asterism.cli import main
from asterism.teachers import common_size
from asterism.teachers.cache import open_cache

QUICK = {"epochs": 1, "batch_size": 8, "lr": 0.05, "workers": 0, "check": False}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of pictures, and a teacher that saw them 20 pixels high."""
    folder, draw = tmp_path_factory.mktemp("sizes"), np.random.default_rng(0)
    for i in range(24):
        file = folder / "pictures" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(256, size=(24, 24, 3), dtype=np.uint8)).save(file)
    recipe.train("mlp", folder / "pictures", out=folder / "run", image_size=20, **QUICK)
    return folder


def test_a_run_sees_pictures_of_its_size_however_it_is_named(place):
    run = place / "run"
    names = [run, str(run), f"{run}/", run / "student.safetensors", asterism.load(run)]
    names.append(f"own.py:make?weights={run}")
    for name in names:
        assert common_size(None, "mlp", name) == 20, name
    assert common_size(16, run) == 16
    assert common_size(None, "mlp") is None


def test_the_weights_of_a_run_are_cached_at_its_size(place):
    """At another one many networks run, too, and are worth little."""
    file = str(place / "run" / "student.safetensors")
    recipe.cache(file, str(place / "pictures"), out=place / "cache", views=1, workers=0)
    assert open_cache(place / "cache").manifest.image_shape == [3, 20, 20]


def test_models_may_be_named_by_paths(place):
    options = {"out": place / "student", "report": False, **QUICK}
    result = recipe.distill(Path(place / "run"), place / "run", place / "pictures", **options)
    assert result.student.shape == (3, 20, 20)


@pytest.mark.parametrize("size", ["0", "-5"])
@pytest.mark.parametrize("verb", ["distill", "train", "cache", "doctor"])
def test_no_picture_has_no_pixels(place, verb, size, capsys):
    given = {"train": ["--model", "mlp"], "cache": ["--teacher", str(place / "run")]}
    models = given.get(verb, ["--teacher", str(place / "run"), "--student", "mlp"])
    out = ["--out", str(place / "none")] if verb == "cache" else []
    data = ["--data", str(place / "pictures"), "--image-size", size]
    assert main([verb, *models, *data, *out]) == 2
    assert f"image_size must be at least 1; got {size}" in capsys.readouterr().err
