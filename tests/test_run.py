"""Tests for asterism/run.py."""

import multiprocessing
import os
import shutil

import numpy as np
import pytest

from asterism.models import Spec, build, weights_of
from asterism.run import Run, RunError

CARD = {"model": "convnet?width=8", "classes": 3, "image_shape": [3, 9, 9], "embedding_dim": 32}


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    with run.writing():
        run.write_config({"epochs": 3}, {"torch": "2"})
        run.write_student(weights_of(build(CARD["model"], Spec(3, (3, 9, 9)))), CARD)
        run.write_result({"steps": 1})
    return run


def test_a_used_folder_is_refused_resumed_or_replaced(run):
    with pytest.raises(RunError, match="holds a finished run: go on with --resume"), run.writing():
        pass
    with run.writing(resume=True):
        assert run.read_config()["epochs"] == 3
    (run.path / "result.json").unlink()
    with pytest.raises(RunError, match="holds an unfinished run"), run.writing():
        pass
    with run.writing(overwrite=True):
        assert {p.name for p in run.path.iterdir()} == {".lock"}


def test_what_a_killed_process_had_begun_to_write_is_in_nobodys_way(run):
    (run.path / ".result.json.a1b2c3d4").write_text("{")
    with run.writing(overwrite=True):
        assert {p.name for p in run.path.iterdir()} == {".lock"}
    (run.path / ".thesis.tex.a1b2c3d4").write_text("years of work")
    with pytest.raises(RunError, match=r"holds \.thesis\.tex\.a1b2c3d4, which is no part"):
        with run.writing(overwrite=True):
            pass


def test_looking_whether_a_folder_is_in_use_makes_none(tmp_path):
    assert not Run(tmp_path / "new").in_use()
    assert not (tmp_path / "new").exists()


def test_a_folder_of_something_else_is_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(RunError, match=r"holds thesis\.tex, which is no part of a run"):
            with Run(tmp_path).writing(**options):
                pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def hold(path, held, release):
    with Run(path).writing():
        held.set()
        release.wait(30)


def test_a_folder_in_use_is_refused_and_the_lock_dies_with_its_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", held, release))
    process.start()
    assert held.wait(60)
    with pytest.raises(RunError, match="in use by a run that is still going on"):
        with Run(tmp_path / "run").writing():
            pass
    process.kill()
    process.join()
    with Run(tmp_path / "run").writing():
        pass


def test_metrics_survive_a_crash_and_can_be_cut_back(run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    assert [line["step"] for line in run.read_metrics()] == [1, 2, 3]
    run.cut_metrics(2)
    run.append_metrics({"step": 3})
    assert [line["step"] for line in run.read_metrics()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("config.yaml", b"a: [1", Run.read_config),
        ("config.yaml", b"- 1", Run.read_config),
        ("metrics.jsonl", b'{"step": 1\n{"step": 2}\n', Run.read_metrics),
        ("metrics.jsonl", b"\xff\xfe\n", Run.read_metrics),
        ("result.json", b'{"student": ', Run.read_result),
        ("evaluation.npz", b"PK\x03\x04 and no more", Run.read_evaluation),
        ("evaluation.npz", b"", Run.read_evaluation),
    ],
)
def test_a_damaged_file_is_named(run, name, content, read):
    (run.path / name).write_bytes(content)
    with pytest.raises(RunError, match=f"{name} is damaged"):
        read(run)


def test_an_evaluation_is_read_without_unpickling(run):
    assert run.read_evaluation() == {}
    np.savez(run.path / "evaluation.npz", row=np.arange(3), name=np.array(["a", "b", "c"]))
    assert list(run.read_evaluation()["name"]) == ["a", "b", "c"]
    np.savez(run.path / "evaluation.npz", name=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RunError, match=r"evaluation\.npz is damaged"):
        run.read_evaluation()


class KilledError(BaseException):
    """A process that is gone."""


def test_overwriting_may_be_killed_at_any_point(run, tmp_path, monkeypatch):
    """The rest can be overwritten, and never passes for finished with what was there before."""
    for name in ("step-1.ckpt", "best.ckpt"):
        run.checkpoints.mkdir(exist_ok=True)
        (run.checkpoints / name).write_bytes(b"state")
    (run.path / "logs").mkdir()
    (run.path / "logs/events").write_text("1")
    (run.path / "report.html").write_text("page")
    points = 0
    while True:
        copy = Run(shutil.copytree(run.path, tmp_path / str(points)))
        left = [points]

        def cut_off(real, left=left):
            def call(*arguments, **options):
                if not left[0]:
                    raise KilledError
                left[0] -= 1
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for name in ("unlink", "rmdir", "replace"):
                patched.setattr(os, name, cut_off(getattr(os, name)))
            try:
                with copy.writing(overwrite=True):
                    pass
            except KilledError:
                pass
            else:
                break
        assert points == 0 or not copy.finished()
        begun = sorted(p.name for p in copy.checkpoints.glob("*"))
        assert begun in ([], ["best.ckpt", "step-1.ckpt"]), points  # all states, or none
        with copy.writing(resume=True):
            pass
        with copy.writing(overwrite=True):
            assert {p.name for p in copy.path.iterdir()} == {".lock"}
        points += 1
    assert points > 10


def test_links_in_a_folder_are_neither_written_through_nor_kept(run, tmp_path, capsys):
    (tmp_path / "precious").write_text("years of work")
    for name in ("metrics.jsonl", ".lock"):
        (run.path / name).unlink(missing_ok=True)
        (run.path / name).symlink_to(tmp_path / "precious")
        with pytest.raises(RunError, match="is a link, and a run writes its own files only"):
            with run.writing(resume=True):
                run.append_metrics({"step": 1})
        (run.path / name).unlink()
    shutil.move(shutil.copytree(tmp_path / "run", tmp_path / "old"), tmp_path / "scratch")
    run.checkpoints.symlink_to(tmp_path / "scratch")
    with run.writing(overwrite=True):
        assert {p.name for p in run.path.iterdir()} == {".lock"}
    assert "checkpoints was a link" in capsys.readouterr().err
    assert (tmp_path / "scratch/config.yaml").exists()
    assert (tmp_path / "precious").read_text() == "years of work"


def test_weights_that_are_not_those_of_the_card_are_refused(run):
    run.refuse_other_weights("student", run.read_card())
    file = run.path / "student.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(RunError, match="is not the file that was written with student.json"):
        run.refuse_other_weights("student", run.read_card())
