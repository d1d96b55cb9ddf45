"""Tests of `prefixes`: first columns of a student that are trained to do by themselves."""

import numpy as np
import pytest
import torch
from torch import nn

from asterism import KD, RKD, RRD, RRKD, SP, Anchored, Neighbourhood, Outputs
from asterism.engine.objective import Objective
from asterism.request import Request
from asterism.settings import Settings
from asterism.training import open_training
from asterism.types import Batch

WIDTHS = (2, 5)
ROWS, STUDENT, TEACHER = 6, 8, 10


def drawn(seed):
    draw = torch.Generator().manual_seed(seed)
    widths = (STUDENT, 3, TEACHER, 3)
    rows = [torch.randn(ROWS, width, generator=draw, dtype=torch.float64) for width in widths]
    return Outputs(*rows[:2]), Outputs(*rows[2:])


def cut(outputs, width):
    """Return outputs with zeros behind the first columns."""
    rows = outputs.embedding.clone()
    rows[:, width:] = 0
    return outputs._replace(embedding=rows)


def terms(method, student, teacher, prefixes, anchors=None):
    objective = Objective([method], task_weight=0.0, train_views=1, local=True, prefixes=prefixes)
    batch = Batch((), torch.arange(ROWS), None, anchors)
    return objective.terms([student], [teacher], batch, [ROWS])


@pytest.mark.parametrize("kind", [RKD, Anchored, Neighbourhood, RRKD, KD])
def test_a_term_is_its_mean_over_prefixes_and_all_columns(kind):
    student, teacher = drawn(0)
    anchors = drawn(1) if kind is RRKD else None
    method = kind()
    method.setup(student_dim=STUDENT, teacher_dim=TEACHER)
    method.double()
    each = []
    for width in (STUDENT, *WIDTHS):
        seen = anchors and (cut(anchors[0], width), anchors[1])
        each.append(method(cut(student, width), teacher, Batch(anchors=seen)))
    found = terms(method, student, teacher, WIDTHS, anchors)
    assert found.keys() == each[0].keys()
    for name, value in found.items():
        torch.testing.assert_close(value, sum(own[name] for own in each) / len(each))


@pytest.mark.parametrize("kind", [RKD, Neighbourhood, SP])
def test_first_columns_are_compared_as_if_there_were_no_others(kind):
    student, teacher = drawn(0)
    method = kind()
    method.setup(student_dim=STUDENT, teacher_dim=TEACHER)
    narrow = student._replace(embedding=student.embedding[:, :2])
    by_hand = [sum(method(each, teacher).values()) for each in (student, narrow)]
    found = sum(terms(method, student, teacher, [2]).values())
    torch.testing.assert_close(found, sum(by_hand) / 2)


def test_a_loss_of_embeddings_with_the_labels_sees_them_too():
    class Summed(nn.Module):
        of_scores = False

        def forward(self, outputs, target):
            return outputs.embedding.sum()

    student, _ = drawn(0)
    objective = Objective(
        [], task_weight=1.0, train_views=1, local=True, prefixes=[2], loss=Summed()
    )
    found = objective.task([student], torch.zeros(ROWS), [ROWS])
    torch.testing.assert_close(
        found, (student.embedding.sum() + student.embedding[:, :2].sum()) / 2
    )


@pytest.mark.parametrize(
    ("prefixes", "method", "message"),
    [
        ((4, 8), RKD(), "fewer than the student's 8; got 4, 8"),
        ((0,), RKD(), "fewer than the student's 8; got 0"),
        ((4,), KD(), "nothing here compares embeddings"),
        ((4,), [RKD(), RRD()], "RRD remembers whole rows"),
        ((4,), Neighbourhood(queue_size=9), "Neighbourhood remembers whole rows"),
    ],
)
def test_what_cannot_be_is_refused(prefixes, method, message, tmp_path):
    rows = {name: np.ones((40, 5), dtype="f4") for name in ("embedding", "logits")}
    np.savez(tmp_path / "rows.npz", **rows)
    student = "mlp?dim=8"
    data = {"x": np.zeros((40, 6), dtype="f4")}
    np.savez(tmp_path / "data.npz", **data)
    with pytest.raises(ValueError, match=message):
        open_training(
            Request(
                teacher=str(tmp_path / "rows.npz"),
                student=student,
                data=str(tmp_path / "data.npz"),
                method=method,
                labels=False,
                settings=Settings(prefixes=prefixes),
            )
        )
