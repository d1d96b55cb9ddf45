"""Tests for asterism/memory.py."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.memory import MemoryBank, SampleMemory


def test_starts_with_rows_of_unit_length():
    bank = MemoryBank(50, 8)
    torch.testing.assert_close(bank.rows.norm(dim=1), torch.ones(50))
    assert bank.pointer == 0


@given(size=st.integers(1, 9), batches=st.lists(st.integers(0, 20), max_size=6))
@settings(deadline=None, max_examples=50)
def test_first_in_first_out(size, batches):
    bank = MemoryBank(size, 1)
    expected, written = bank.rows.flatten().tolist(), 0
    for n in batches:
        bank.enqueue(torch.arange(written, written + n)[:, None].float())
        for value in range(written, written + n):
            expected[value % size] = value
        written += n
        assert bank.rows.flatten().tolist() == expected
        assert bank.pointer == written % size


def test_is_part_of_the_state():
    one, two = MemoryBank(5, 2), MemoryBank(5, 2)
    one.enqueue(torch.randn(7, 2))
    two.load_state_dict(one.state_dict())
    assert set(one.state_dict()) == {"rows", "pointer"}
    assert torch.equal(one.rows, two.rows)
    assert one.pointer == two.pointer


def test_refuses_rows_of_another_shape():
    for rows in (torch.randn(2), torch.randn(3, 1)):
        with pytest.raises(ValueError, match=r"takes rows of shape \(n, 2\); got"):
            MemoryBank(5, 2).enqueue(rows)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_keeps_its_own_precision_and_no_graph(dtype):
    bank = MemoryBank(5, 2)
    bank.enqueue(torch.randn(2, 2, dtype=dtype, requires_grad=True))
    assert bank.rows.dtype == torch.float32
    assert not bank.rows.requires_grad


def test_sample_memory_mixes_directions():
    memory = SampleMemory(4, 3, momentum=0.25)
    before = memory.rows.clone()
    rows = torch.randn(2, 3, requires_grad=True)
    memory.update(torch.tensor([3, 1]), 5 * rows)
    expected = before.clone()
    mixed = 0.25 * before[[3, 1]] + 0.75 * F.normalize(rows)
    expected[[3, 1]] = F.normalize(mixed).detach()
    torch.testing.assert_close(memory.rows, expected)
    assert set(memory.state_dict()) == {"came", "rows", "visits"}


def test_sample_memory_stores_a_sample_that_comes_twice_as_its_mean():
    memory = SampleMemory(4, 2, momentum=0)
    rows = torch.tensor([[2.0, 0.0], [0.0, -1.0], [0.0, 0.1]])
    memory.update(torch.tensor([2, 0, 2]), rows)
    half = 0.5**0.5
    torch.testing.assert_close(memory.rows[[2, 0]], torch.tensor([[half, half], [0, -1]]))
    memory.update(torch.tensor([], dtype=torch.long), torch.zeros(0, 2))
    before = memory.rows.clone()
    memory.update(torch.tensor([2]), torch.tensor([[torch.nan, 1.0]]))  # would stay for good
    assert memory.rows.equal(before)
