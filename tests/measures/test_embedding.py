"""Tests for asterism/measures/embedding.py."""

import pytest
import torch
from torch import nn

from asterism import Batch, Outputs
from asterism.measures import collect


class Student(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, classes) if classes else None

    def forward(self, images):
        embedding = self.drop(self.norm(images.flatten(1)))
        return Outputs(embedding, None if self.head is None else self.head(embedding))


def batches(*sizes):
    torch.manual_seed(0)
    return [
        Batch(views=(torch.rand(n, 1, 2, 2), torch.zeros(n, 1, 2, 2)), index=torch.arange(n))
        for n in sizes
    ]


def test_gives_the_rows_of_the_first_views_in_order():
    student, data = Student(), batches(3, 5, 1)
    outputs = collect(student, data)
    student.eval()
    expected = student(torch.cat([batch.views[0] for batch in data]))
    torch.testing.assert_close(outputs.embedding, expected.embedding)
    torch.testing.assert_close(outputs.logits, expected.logits)
    assert not outputs.embedding.requires_grad
    assert not outputs.logits.requires_grad


def test_takes_a_stream_and_a_model_without_classes():
    outputs = collect(Student(classes=0), iter(batches(2, 2)), torch.device("cpu"))
    assert outputs.embedding.shape == (4, 4)
    assert outputs.logits is None


def test_half_precision_comes_back_in_single():
    data = [Batch((batch.views[0].bfloat16(),), batch.index) for batch in batches(3)]
    outputs = collect(Student().bfloat16(), data)
    assert outputs.embedding.dtype == outputs.logits.dtype == torch.float32


def test_leaves_the_model_as_it_was():
    student = Student().train()
    student.norm.eval()  # frozen statistics
    state = {name: value.clone() for name, value in student.state_dict().items()}
    collect(student, batches(3))
    assert (student.training, student.norm.training, student.drop.training) == (True, False, True)
    torch.testing.assert_close(dict(student.state_dict()), state)

    with pytest.raises(RuntimeError):
        collect(student, [Batch((torch.rand(3, 1, 5, 5),), torch.arange(3))])
    assert (student.training, student.norm.training, student.drop.training) == (True, False, True)
    assert torch.is_grad_enabled()


def test_no_batches_give_no_rows():
    outputs = collect(Student(), [])
    assert outputs.embedding.shape == (0, 0)
    assert outputs.logits is None
