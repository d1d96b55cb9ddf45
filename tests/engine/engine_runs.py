"""Short trainings on the real digits, for the tests of the engine."""

from contextlib import contextmanager

import pytest

from asterism.data import open_data
from asterism.engine import Settings, fit, seed_everything, training_views
from asterism.measures import classification
from asterism.models import Spec, build
from asterism.run import Run

SPEC = Spec(10, (1, 8, 8))


def accuracy(outputs, target):
    return {"accuracy": float(classification(outputs.logits, target).top1)}


def training(folder, *, teacher=None, methods=(), resume=False, student="mlp", **settings):
    """Fit a student on the digits and return it with its run."""
    settings = Settings(**{"epochs": 3, "lr": 0.05, "batch_size": 64} | settings)
    seed_everything(settings.seed, verbose=False)
    data = open_data("digits")
    model = build(student, SPEC) if isinstance(student, str) else student
    folder.mkdir(exist_ok=True)
    return fit(
        model,
        teacher,
        list(methods),
        data,
        Run(folder),
        settings=settings,
        score=accuracy,
        use_labels=True,
        resume=resume,
        views=training_views(data.source, methods, settings),
    )


def weights(fitted):
    return dict(fitted.student.state_dict())


def without_speed(folder):
    lines = Run(folder).read_metrics()
    return [
        {k: v for k, v in line.items() if k not in ("images_per_second", "data_share")}
        for line in lines
    ]


@contextmanager
def interrupted(epoch):
    """Stop the training in the middle of an epoch."""

    class Stop(Exception):
        pass

    original = Run.append_metrics

    def interrupt(self, line):
        original(self, line)
        if line["epoch"] == epoch:
            raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Run, "append_metrics", interrupt)
        yield
