"""Tests for asterism/teachers: `asterism cache`, and trainings from what it makes."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from asterism import CRD, RKD, RRD, RRKD, VRM, Outputs, recipe
from asterism.cli import main
from asterism.data import ArraySource
from asterism.teachers.cache import open_cache

QUICK = {"epochs": 1, "batch_size": 64, "lr": 0.05, "overwrite": True, "report": False}
STUDENT = "convnet?width=8"


@pytest.fixture(scope="module")
def teacher(taught):
    return taught


@pytest.fixture(scope="module")
def cache(teacher, tmp_path_factory):
    """A cache whose teacher is gone."""
    gone = Path(shutil.copytree(teacher, tmp_path_factory.mktemp("gone") / "run"))
    folder = tmp_path_factory.mktemp("c") / "cache"
    recipe.cache(str(gone), "digits", out=folder, views=2, augment="vrm", dtype="float32")
    shutil.rmtree(gone)
    return str(folder)


def contents(folder):
    """Return the bytes of all files but those that hold times."""
    files = [p for p in Path(folder).rglob("*") if p.is_file()]
    files = [p for p in files if p.name not in (".lock", "teacher.json")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture
def one_thread(monkeypatch):
    """Results do not depend on how many processes share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


def test_killed_at_any_time_it_goes_on_to_the_same_bytes(teacher, tmp_path, capfd, one_thread):
    options = {"views": 2, "augment": "vrm", "shard_rows": 128, "batch_size": 32}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    recipe.cache(teacher, "digits", out=whole, **options)
    assert "1,297 training samples, 500 test samples; 1 clean and 2 augm" in capfd.readouterr().err
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()] + [""]
    command = [sys.executable, "-m", "asterism", "cache", "--teacher", teacher, "--data", "digits"]
    draw = random.Random(0)
    for processes in ("1", "2"):
        before = len(list(parts.rglob("*.safetensors")))
        words[-1] = f"--processes={processes}"
        process = subprocess.Popen([*command, "--out", str(parts), *words], stderr=-3)
        while process.poll() is None and len(list(parts.rglob("*.safetensors"))) < before + 9:
            time.sleep(0.002)
        time.sleep(draw.random() / 10)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with pytest.raises(FileNotFoundError, match="is not complete"):
        recipe.distill(str(parts), STUDENT, "digits", out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()
    recipe.cache(teacher, "digits", out=parts, **options)
    assert contents(parts) == contents(whole)


def test_several_processes_share_the_work(teacher, cache, tmp_path):
    options = {"views": 2, "augment": "vrm", "dtype": "float32", "shard_rows": 128}
    state = recipe.cache(teacher, "digits", out=tmp_path / "a", processes=2, **options)
    assert state.complete
    one, two = (open_cache(Path(folder)) for folder in (cache, tmp_path / "a"))
    for view in one.views("training"):
        expected = one.read("training", view, 0)["logits"][256:384]
        found = two.read("training", view, 256)["logits"]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="give both by name, not as objects"):
        recipe.cache(lambda: None, lambda: None, out=tmp_path / "b", processes=2)


METHODS = {
    "default": lambda: None,
    "RKD": RKD,
    "RRD": lambda: RRD(bank_size=512),
    "RRKD": RRKD,
    "RRKD, fixed anchors": lambda: RRKD(anchors="most-confident", anchor_count=30),
    "VRM": VRM,
    "CRD": CRD,
}


@pytest.mark.parametrize("method", METHODS)
def test_training_from_it_is_training_with_the_teacher(method, teacher, cache, tmp_path):
    """Three epochs of two views; the cache's teacher has been deleted."""
    options = {**QUICK, "epochs": 3, "lr": 0.01}
    live, found = (
        recipe.distill(name, STUDENT, "digits", method=METHODS[method](), out=out, **more)
        for name, out, more in (
            (teacher, tmp_path / "live", {**options, "view_count": 2}),
            (cache, tmp_path / "cached", options),  # as many views as the cache has
        )
    )
    weights = found.student.state_dict()
    for key, value in live.student.state_dict().items():
        torch.testing.assert_close(weights[key], value, rtol=2e-3, atol=2e-4)
    assert found.accuracy == pytest.approx(live.accuracy, abs=0.01)
    # Its test data are in the cache, too.
    assert found.agreement == pytest.approx(live.agreement, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view_seed": 3}, "made with view seed 0, and this training has 3: set --view-seed 0"),
        ({"padding": 2}, "made with padding 1, and this .* has 2: leave --padding out or set"),
        (
            {"crop_area": (0.5, 1.0)},
            r"crop area, crop ratio and color jitter \(None",
        ),
        (
            {"color_jitter": 0.3},
            r"color jitter \(None, 1.33.*, 0.0\), and this .*, 0.3\): set --crop",
        ),
        ({"view_count": 3}, "made with view count 2, and this .* 3: set --view-count 2 or less"),
        (
            {"train_views": "real,virtual", "randaugment_magnitude": 15},
            r"RandAugment's operations and magnitude \(2, 9\), and this training has \(2, 15\)",
        ),
        ({"train_views": "real,virtual,virtual"}, r"virtual views of each sample \(2\).* has 1"),
        ({"data": "OTHER"}, "has the teacher's outputs for training data digits .*none for these"),
        ({"data": "SMALL"}, r"images of shape \(1, 8, 8\), and the data are .*\(1, 6, 6\)"),
    ],
)
def test_a_training_that_does_not_fit_is_refused(options, message, cache, tmp_path):
    digits = load_digits()
    images = torch.from_numpy(digits.images * 15).byte()[:, None]
    others = {"OTHER": images, "SMALL": images[:, :, 1:7, 1:7].contiguous()}
    data = options.get("data", "digits")
    data = ArraySource(others[data], digits.target) if data in others else data
    with pytest.raises(ValueError, match=message):
        recipe.distill(cache, STUDENT, out=tmp_path / "run", **{**QUICK, **options, "data": data})
    assert not (tmp_path / "run").exists()


def test_vrm_needs_virtual_views(teacher, tmp_path):
    recipe.cache(teacher, "digits", out=tmp_path / "cache", views=1)
    with pytest.raises(ValueError, match=r"VRM needs virtual views .* `asterism cache --augment v"):
        recipe.distill(
            str(tmp_path / "cache"), STUDENT, "digits", method=VRM(), out=tmp_path / "r", **QUICK
        )
    with pytest.raises(ValueError, match=r"\(2\), and .*: name the teacher itself, and --teach"):
        recipe.distill(
            str(tmp_path / "cache"),
            STUDENT,
            "digits",
            method=VRM(virtual_views=2),
            out=tmp_path / "r",
            **QUICK,
        )


def test_without_outputs_on_the_test_data_the_report_says_so(cache, tmp_path):
    digits = load_digits()
    np.savez(
        tmp_path / "test.npz", x=(digits.images[:99] * 15).astype(np.uint8), y=digits.target[:99]
    )
    options = {**QUICK, "test_data": str(tmp_path / "test.npz")}
    found = recipe.distill(cache, STUDENT, "digits", out=tmp_path / "a", **options)
    assert found.accuracy is not None
    assert "fidelity" not in found.evaluation
    headline = found.evaluation["headline"]
    assert f"{cache} has no outputs of the teacher on the test data" in headline
    del options["test_data"]
    options["validation_data"] = str(tmp_path / "test.npz")
    with pytest.raises(ValueError, match="--validation-data, --test-data"):
        recipe.distill(cache, STUDENT, "digits", labels=False, out=tmp_path / "b", **options)


class Scaled(nn.Module):
    """A teacher of which no weight tells that its code has changed."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, images):
        return Outputs(images.flatten(1) * self.factor)


def test_another_teacher_is_found_out(teacher, tmp_path):
    out = tmp_path / "cache"
    recipe.cache(Scaled(1.0), "digits", out=out, views=1, shard_rows=512)
    assert recipe.cache(
        Scaled(1.0), "digits", out=out, views=1, shard_rows=512, verify_cache=20
    ).complete
    with pytest.raises(ValueError, match="was made with teacher's weights .* go on with the same"):
        recipe.cache(teacher, "digits", out=out, views=1, shard_rows=512)
    other = r"does not hold what this teacher returns: its embedding of row \d+ .* differs by 50 %"
    with pytest.raises(ValueError, match=other):
        recipe.cache(Scaled(2.0), "digits", out=out, views=1, shard_rows=512, verify_cache=20)
    before = contents(out)
    with pytest.raises(ValueError, match=other):  # more views would leave it incomplete
        recipe.cache(Scaled(2.0), "digits", out=out, views=2, shard_rows=512)
    assert contents(out) == before
    (out / "training/real-0/00001.safetensors").unlink()
    with pytest.raises(ValueError, match=other):
        recipe.cache(Scaled(2.0), "digits", out=out, views=1, shard_rows=512)


def test_a_training_fills_its_cache_with_its_own_teacher(tmp_path):
    """Of a complete one, too, rows are compared: a repaired normalisation changes no weight."""
    options = {**QUICK, "labels": False, "teacher_cache": tmp_path / "caches", "check": False}
    recipe.distill(Scaled(1.0), STUDENT, "digits", out=tmp_path / "a", **options)
    recipe.distill(Scaled(1.0), STUDENT, "digits", out=tmp_path / "b", **options)
    with pytest.raises(ValueError, match="does not hold what this teacher returns"):
        recipe.distill(Scaled(2.0), STUDENT, "digits", out=tmp_path / "c", **options)


@pytest.mark.parametrize(
    ("factor", "options", "message"),
    [
        (
            1e6,
            {},
            r"embedding of row \d+, view clean, has values up to 1e\+06, too large for float",
        ),
        (float("nan"), {"dtype": "float32"}, r"of row 0, view clean, is not finite"),
        (1.0, {"views": 0}, "views must be at least 1; got 0"),
        (1.0, {"verify_cache": -1}, "verify_cache must be at least 0; got -1"),
        (1.0, {"workers": -1}, "workers must be at least 0; got -1"),
        (1.0, {"image_size": 8, "data": "FLOAT"}, "views that can be repeated"),
    ],
)
def test_what_cannot_be_kept_is_refused(factor, options, message, tmp_path):
    data = options.pop("data", "digits")
    if data == "FLOAT":
        data = torch.utils.data.TensorDataset(torch.rand(40, 1, 8, 8))
    with pytest.raises(ValueError, match=message):
        recipe.cache(Scaled(factor), data, out=tmp_path / "a", **options)


def test_disk_and_folder_are_looked_at_first(cache, teacher, tmp_path, monkeypatch, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    command = ["cache", "--teacher", teacher, "--data", "digits", "--out"]
    assert main([*command, str(tmp_path)]) == 2
    assert "holds notes.txt, which is no part of a cache" in capsys.readouterr().err
    assert main(["cache", "--teacher", cache, "--data", "digits", "--out", "x"]) == 2
    assert "has a teacher's outputs already" in capsys.readouterr().err
    full = shutil._ntuple_diskusage(10, 10, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    assert main([*command, str(tmp_path / "a"), "--views", "2"]) == 2
    error = capsys.readouterr().err
    assert "needs 1.2 MB and has 1.0 kB free: use --dtype float16 or fewer --views" in error
    assert not (tmp_path / "a/cache.json").exists()  # with other options it begins anew
    monkeypatch.undo()
    assert main([*command, str(tmp_path / "a"), "--views", "1", "--verify-cache"]) == 0
    said = capsys.readouterr()
    assert "as the teacher returns it now" in said.out
    assert "free; about" in said.err


def test_unreadable_pictures_are_left_out_everywhere(tmp_path):
    digits = load_digits()
    for i in range(120):
        path = tmp_path / "pictures" / str(digits.target[i] % 2) / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15).astype(np.uint8)).save(path)
    seven = next((tmp_path / "pictures").rglob("007.png"))
    good = seven.read_bytes()
    bad = b"no picture".ljust(len(good))  # as long: the folder is the same by its fingerprint
    seven.write_bytes(bad)
    options = {"image_size": 8, "workers": 0}
    data, out = str(tmp_path / "pictures"), tmp_path / "cache"
    recipe.cache(Scaled(1.0), data, out=out, views=2, shard_rows=32, **options)
    absent = ~open_cache(out).readable("training")
    assert absent.nonzero().flatten().tolist() == [
        sorted(seven.parents[1].rglob("*.png")).index(seven)
    ]
    seven.write_bytes(good)  # the teacher has not seen it: it stays out
    recipe.cache(Scaled(1.0), data, out=out, views=3, shard_rows=32, **options)
    for place in (str(out), Scaled(1.0)):
        again = {"teacher_cache": tmp_path / "many"} if place != str(out) else {}
        seven.write_bytes(good if place == str(out) else bad)
        found = recipe.distill(
            place, STUDENT, data, labels=False, out=tmp_path / "run", **options, **again, **QUICK
        )
        assert any("007.png" in name for name in found.evaluation["broken"])
    eight = next((tmp_path / "pictures").rglob("008.png"))
    eight.write_bytes(bad[:10].ljust(eight.stat().st_size))
    with pytest.raises(ValueError, match=r"cannot be read now: .*008\.png"):
        recipe.cache(Scaled(1.0), data, out=out, views=4, shard_rows=32, **options)


def test_texts_have_one_clean_view(tmp_path, tokenizer):
    (tmp_path / "tokenizer.json").write_text(tokenizer)
    texts = tmp_path / "texts.csv"
    words = "the a goal won match team".split()
    lines = [f"{words[i % 6]} {words[i % 5]} {words[i % 4]},{i % 2}" for i in range(80)]
    texts.write_text("text,label\n" + "\n".join(lines) + "\n")
    model = f"text-transformer?width=16&tokenizer={tmp_path / 'tokenizer.json'}"
    taught = str(recipe.train(model, str(texts), out=tmp_path / "t", epochs=1, batch_size=16).run)
    state = recipe.cache(taught, str(texts), out=tmp_path / "cache", dtype="float32")
    assert (state.count, state.shards) == (0, 1)
    options = {**QUICK, "batch_size": 16, "epochs": 2, "lr": 0.001}
    student = f"text-static?width=8&tokenizer={tmp_path / 'tokenizer.json'}&start=random"
    live, cached = (
        recipe.distill(name, student, str(texts), out=tmp_path / "run", **options)
        for name in (taught, str(tmp_path / "cache"))
    )
    for key, value in live.student.state_dict().items():
        torch.testing.assert_close(cached.student.state_dict()[key], value, rtol=1e-3, atol=1e-5)
