"""Tests for asterism/doctor/resources.py: terms, memory, disk, time, cache."""

import time
from types import SimpleNamespace

import pytest
from faulty import DIGITS, Changed, by_subject

from asterism import KD, RKD, recipe
from asterism.doctor import resources
from asterism.engine.rehearsal import Rehearsal
from asterism.recipe import examine
from asterism.settings import Settings


@pytest.mark.parametrize(
    ("method", "term", "severity", "advice"),
    [
        (RKD(distance_weight=1e5), "term rkd/distance", "wrong", "it drowns the others"),
        (RKD(angle_weight=1e-4), "term rkd/angle", "look", "it hardly counts"),
        (KD(weight=0.0), "term kd", "look", "it teaches nothing"),
    ],
)
def test_terms_that_pull_too_hard_or_not_at_all(method, term, severity, advice, run):
    options = {**DIGITS, "method": [method], "epochs": 1}
    found = by_subject(examine(run, "mlp", "digits", **options))
    name = term if term in found else term.replace("rkd/", "")
    assert (found[name].severity, advice in found[name].advice) == (severity, True)
    automatic = by_subject(examine(run, "mlp", "digits", loss_weights="auto", **options))
    assert automatic[name].severity == (
        "look" if severity == "look" and "nothing" in advice else "ok"
    )


def test_what_the_machine_lacks(run, tmp_path, monkeypatch):
    options = {**DIGITS, "out": tmp_path / "run"}
    need = by_subject(examine(run, "mlp", "digits", **options))["memory"].figures["need"]
    for left, severity in ((need * 2, "ok"), (need * 1.1, "look"), (need * 0.9, "wrong")):
        monkeypatch.setattr(resources, "_left", lambda device, left=left: left)
        found = by_subject(examine(run, "mlp", "digits", **options))["memory"]
        assert found.severity == severity
        assert ("--batch-size" in found.advice) == (severity != "ok")
    usage = resources.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: usage)
    found = by_subject(examine(run, "mlp", "digits", teacher_cache=tmp_path / "cache", **options))
    assert "keep fewer" in found["run folder"].advice
    assert "leave --teacher-cache out" in found["teacher cache"].advice
    assert not any(tmp_path.iterdir())  # nothing is written
    (tmp_path / "file").touch()
    found = by_subject(examine(run, "mlp", "digits", **{**options, "out": tmp_path / "file"}))
    assert found["run folder"].severity == "wrong"
    assert "cannot write into" in found["run folder"].found


def test_a_slow_teacher_is_worth_a_cache_and_the_cache_is_told_of(run, teacher, tmp_path):
    slow = Changed(teacher, before=lambda x: time.sleep(0.02) or x)
    figures = by_subject(examine(slow, "mlp", "digits", **DIGITS))["time"].figures
    assert figures["teacher"] * figures["step"] >= 0.02
    request = SimpleNamespace(teacher_cache=None)
    training = SimpleNamespace(settings=Settings(workers=0), request=request)
    for teaching, advice in ((0.6, "--teacher-cache FOLDER saves each later run"), (0.2, "")):
        rehearsal = Rehearsal(steps=7200, seconds=0.75, fetching=0.25, teaching=teaching)
        (found,) = resources.check_time(training, rehearsal)
        assert found.found.startswith("about 2.0 h for 7,200 steps of 1000 ms")
        assert advice in found.advice
        assert bool(advice) == bool(found.advice)
    options = {**DIGITS, "teacher_cache": tmp_path / "cache"}
    for written in (0, 4):
        if written:
            recipe.distill(run, "mlp", "digits", out=tmp_path / "run", report=False, **options)
        found = by_subject(examine(run, "mlp", "digits", **options))
        figures = found["teacher cache"].figures
        assert (figures["written"], figures["files"]) == (written, 4)
        # A clean view and three augmented ones of 1,297 digits, 128 + 10 numbers in float32.
        assert figures["need"] == (0 if written else 4 * 1297 * 138 * 4)
        assert found["time"].advice == ""
        assert (tmp_path / "cache").exists() == (written == 4)
