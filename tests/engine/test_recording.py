"""Tests for asterism/engine/recording.py: who else is told, beside metrics.jsonl."""

import importlib.util
import math
import re
from dataclasses import replace

import pytest
from engine_runs import SPEC, opened, training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asterism import Callback
from asterism.engine import fit
from asterism.engine.processes import processes
from asterism.methods.base import Method
from asterism.models import build
from asterism.run import Run


class Told(Callback):
    """Remembers what it was told."""

    def __init__(self):
        self.steps = []
        self.others = []

    def on_step(self, moment, terms):
        self.steps.append((moment.step, moment.epoch, float(terms["loss"])))

    def on_validation(self, moment, scores):
        self.others.append(("validation", moment.step, scores))

    def on_epoch(self, moment, scores):
        self.others.append(("epoch", moment.epoch, scores))


def test_callbacks_are_told_of_steps_validation_and_epochs(tmp_path):
    told = Told()
    training(tmp_path / "a", epochs=2, callbacks=[told], log_every=1)
    lines = Run(tmp_path / "a").read_metrics()
    losses = [(x["step"], x["epoch"], x["train/loss"]) for x in lines if "lr" in x]
    assert told.steps == [pytest.approx(line) for line in losses]
    scores = [x["validation/accuracy"] for x in lines if "lr" not in x]
    assert told.others == [
        (what, at, {"accuracy": score})
        for epoch, score in enumerate(scores)
        for what, at in (("validation", 18 * (epoch + 1)), ("epoch", epoch))
    ]


def test_what_a_callback_raises_ends_the_training_and_its_state_is_kept(tmp_path):
    class Enough(Callback):
        def on_step(self, moment, terms):
            if moment.step == 25:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        training(tmp_path / "a", callbacks=[Enough()])
    whole = training(tmp_path / "whole")
    resumed = training(tmp_path / "a", resume=True)
    assert resumed.steps == whole.steps == 54


def test_a_tracker_gets_the_figures_of_the_metrics(tmp_path):
    run = Run(tmp_path / "a")
    training(run.path, epochs=2, log="tensorboard")
    (folder,) = {
        file.parent for file in run.logs.rglob("events.*") if file.parent.name == "asterism"
    }
    events = EventAccumulator(str(folder))
    events.Reload()
    for name in ("train/loss", "lr", "validation/accuracy"):
        expected = [(x["step"], x[name]) for x in run.read_metrics() if name in x]
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [pytest.approx(line) for line in expected]


def test_a_tracker_that_is_not_installed_is_named(tmp_path, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(
        "asterism.engine.processes.find_spec", lambda x: None if x == "wandb" else known(x)
    )
    with pytest.raises(ValueError, match=r"log wandb needs its library: pip install 'asterism"):
        training(tmp_path / "a", log="wandb")


@pytest.mark.parametrize(
    ("first", "later", "said"),
    [
        (10.0, 1e10, "grown from 10 at the first step to 1e\\+10"),
        (0.0, 500.0, "grown from 0 at the first step to 500"),  # weights that begin at 0
        (0.0, 50.0, None),
        (2.0, 150.0, None),
        (-300.0, 5_000.0, None),
    ],
)
def test_a_loss_that_runs_away_is_said_once_and_at_the_end(tmp_path, capsys, first, later, said):
    class Strange(Method):
        """A term of a known value, whatever the networks do."""

        calls = 0

        def __init__(self):
            super().__init__()

        def forward(self, student, teacher, batch=None):
            self.calls += 1
            zero = 0 * student.embedding.sum()
            return {"strange": zero + (first if self.calls == 1 else later)}

    found = training(
        tmp_path / "a",
        teacher=build("mlp", SPEC),
        methods=[Strange()],
        task_weight=0.0,
        epochs=2,
        log_every=1,
    )
    told = [line for line in capsys.readouterr().err.splitlines() if "runs away" in line]
    assert len(told) == len(found.remarks) == (said is not None)
    for line in [*told, *found.remarks]:
        assert re.search(said, line)
        assert "--lr" in line


@pytest.mark.parametrize(("guess", "kept"), [(0.99, 2), (0.5, 0), (-math.inf, 0)])
def test_an_epoch_is_chosen_by_what_no_guess_reaches(tmp_path, guess, kept):
    scores = iter([0.9, 0.7, 0.8])
    begun = replace(opened(), score=lambda outputs, target: {"s": next(scores)}, guess=guess)
    (tmp_path / "a").mkdir()
    with processes(begun.settings):
        found = fit(begun, Run(tmp_path / "a"))
    assert found.score == [0.9, 0.7, 0.8][kept]
    assert [f"reach, {100 * guess:.1f} %" in said for said in found.remarks] == [True] * (kept > 0)
