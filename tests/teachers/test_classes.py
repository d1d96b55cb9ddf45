"""Tests for asterism/teachers/classes.py: classes of teacher and data, by name."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from asterism.modality import IMAGE
from asterism.models.adapt import Adapted
from asterism.request import Request
from asterism.student import Student
from asterism.teachers import TeacherCard, differing
from asterism.teachers.classes import in_order
from asterism.training import open_training
from asterism.types import Outputs


class Net(nn.Module):
    def forward(self, samples):
        return Outputs(samples, samples)


ONE, TWO = ("cat", "dog", "elk"), ("dog", "elk", "cat")


@pytest.mark.parametrize(
    ("own", "wanted", "reason"),
    [
        (ONE, ONE, None),
        (ONE, TWO, None),
        (None, ONE, None),
        (ONE, ("0", "1", "2"), None),  # nobody has named the data's
        (("0", "1", "2"), ONE, None),
        (("1", "10", "2"), ("0", "1", "2"), "'10' for one, as '0' is not"),
        (ONE, ("cat", "dog", "fox"), "'elk' for one, as 'fox' is not"),
        (ONE, ("1", "2", "3"), "'cat' for one, as '1' is not"),
        (ONE, ("cat", "dog"), "3 classes, the data 2"),
        ((), ONE, "no class scores"),
    ],
)
def test_scores_are_of_the_same_classes_or_it_is_said(own, wanted, reason):
    card = TeacherCard(8, 3 if own is None else len(own), names=own or None)
    data = SimpleNamespace(classes=len(wanted), class_names=wanted)
    found = differing(card, data)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (("1", "0"), ["VRM", "Anchored"]),
        (("1", "2"), ["Anchored"]),
        (None, ["VRM", "Anchored"]),
    ],
)
def test_a_teacher_that_knows_its_classes_is_matched_before_training(names, kept, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((40, 4, 4), np.uint8), y=np.arange(40) % 2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    model = Adapted(network, classes=2)
    teacher = Student(model, IMAGE, (1, 4, 4), names)
    request = Request(teacher=teacher, student="mlp", data=str(tmp_path / "x.npz"))
    training = open_training(request)
    assert [type(method).__name__ for method in training.methods] == kept
    assert ("left out" in training.account.method) == ("VRM" not in kept)
    assert training.card["class_names"] == ["0", "1"]
    source = training.data.source
    images = torch.rand(3, 1, 4, 4)
    scores = training.teacher.on(source).clean(torch.arange(3), images).logits
    own = network(images).detach()
    torch.testing.assert_close(scores, own.flip(1) if names == ("1", "0") else own)


def test_scores_come_in_the_order_of_the_data():
    scores = torch.tensor([[1.0, 2.0, 3.0]])  # of cat, dog and elk
    assert in_order(Net(), ONE, TWO)(scores).logits.tolist() == [[2.0, 3.0, 1.0]]
    assert torch.equal(in_order(Net(), ONE, TWO)(scores).embedding, scores)
    assert in_order(Net(), ONE, ("elk", "cat"))(scores).logits.tolist() == [[3.0, 1.0]]
    numbers = ("0", "1", "2")
    others = (ONE, ("a", "b", "c")), (numbers, numbers[:2])  # of three numbers nobody knows which
    for own, wanted in ((ONE, ONE), (None, TWO), (ONE, None), *others):
        net = Net()
        assert in_order(net, own, wanted) is net
