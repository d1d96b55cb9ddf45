"""Tests for asterism/relations/directions.py."""

import pytest
import torch
import torch.nn.functional as F

from asterism.relations.directions import unit_rows


@pytest.mark.parametrize("scale", [1e-25, 1e-8, 1.0, 1e4, 1e30])
def test_divides_each_row_by_its_length(scale, embeddings):
    rows = embeddings(6, 5)
    units = unit_rows((scale * rows).float())  # whose squares leave the range of float32
    torch.testing.assert_close(units, F.normalize(rows).float())


def test_rows_shorter_than_the_floor_are_divided_by_it_and_get_no_gradient():
    rows = torch.tensor([[3e-3, 4e-3], [3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    units = unit_rows(rows, floor=0.01)
    torch.testing.assert_close(units, torch.tensor([[0.3, 0.4], [0.6, 0.8], [0.0, 0.0]]))
    units[:, 0].sum().backward()
    torch.testing.assert_close(rows.grad, torch.tensor([[0, 0], [0.128, -0.096], [0, 0]]))


def test_gradient(embeddings):
    rows = embeddings(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(unit_rows, rows)
    assert torch.autograd.gradgradcheck(unit_rows, rows)


def test_no_rows():
    assert unit_rows(torch.zeros(0, 3)).shape == (0, 3)
