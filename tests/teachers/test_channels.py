"""Tests for teachers of grey images beside pictures in colour, and the other way round."""

import numpy as np
import pytest
import torch
from torch import nn

from asterism.modality import IMAGE
from asterism.models.adapt import Adapted
from asterism.request import Request
from asterism.student import Student
from asterism.training import open_training


@pytest.mark.parametrize(("own", "given"), [(1, 3), (3, 1), (3, 3)])
@pytest.mark.parametrize("of_a_run", [True, False])
def test_a_teacher_gets_its_own_channels(own, given, of_a_run, tmp_path, capsys):
    shape = (40, 4, 4, 3) if given == 3 else (40, 4, 4)
    np.savez(tmp_path / "x.npz", x=np.zeros(shape, np.uint8), y=np.arange(40) % 2)
    network = nn.Sequential(nn.Conv2d(own, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    teacher = Student(Adapted(network, classes=2), IMAGE, (own, 4, 4)) if of_a_run else network
    request = Request(teacher=teacher, student="mlp", data=str(tmp_path / "x.npz"))
    found = open_training(request)
    grey = torch.rand(2, 1, 4, 4)
    scores = found.teacher.on(found.data.source).clean(
        torch.arange(2), grey.expand(-1, given, -1, -1)
    )
    expected = network(grey.expand(-1, own, -1, -1))
    torch.testing.assert_close(scores.logits, expected)
    said = "it is given them" in capsys.readouterr().err
    assert said == (own != given)
