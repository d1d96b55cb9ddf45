"""Short trainings on the real digits, for the tests of the engine."""

from contextlib import contextmanager

import pytest
import torch

from asterism.data import open_data
from asterism.engine import Training, fit, make_task
from asterism.engine.processes import processes
from asterism.measures import classification
from asterism.models import Spec, build, evaluating
from asterism.request import Request
from asterism.run import Run
from asterism.settings import Settings
from asterism.teachers import LiveTeacher

SPEC = Spec(10, (1, 8, 8))


def accuracy(outputs, target):
    return {"accuracy": float(classification(outputs.logits, target).top1)}


def opened(*, teacher=None, methods=(), student="mlp", callbacks=(), **settings):
    """Return a training of a student on the digits."""
    settings = Settings(**{"epochs": 3, "lr": 0.05, "batch_size": 64} | settings)
    torch.manual_seed(settings.seed)
    data = open_data("digits")
    source = data.source
    model = build(student, SPEC) if isinstance(student, str) else student
    taught = None if teacher is None else LiveTeacher(teacher, source.modality, source.shape)
    virtual = max([settings.trained_views, *(method.views for method in methods)]) - 1
    with evaluating(model):
        width = model(source.__getitems__([0, 1]).views[0].float()).embedding.shape[1]
    return Training(
        request=Request(student=model, data="digits", callbacks=callbacks, settings=settings),
        data=data,
        student=model,
        teacher=taught,
        methods=tuple(methods),
        views=source.views(settings, virtual=virtual),
        use_labels=True,
        task=make_task(settings.task, classes=10, width=width),
        score=accuracy,
    )


def training(folder, *, resume=False, **options):
    """Fit a student on the digits and return it with its run."""
    begun = opened(**options)
    folder.mkdir(exist_ok=True)
    with processes(begun.settings):
        return fit(begun, Run(folder), resume=resume)


def weights(fitted):
    return dict(fitted.student.state_dict())


def without_speed(folder):
    lines = Run(folder).read_metrics()
    return [
        {k: v for k, v in line.items() if k not in ("samples_per_second", "data_share")}
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
