"""Tests for asterism/engine/recording.py: who else is told, beside metrics.jsonl."""

import importlib.util

import pytest
from engine_runs import training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asterism import Callback
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
