"""Tests for asterism/memory.py."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.memory import MemoryBank


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_keeps_its_own_precision_and_no_graph(dtype):
    bank = MemoryBank(5, 2)
    bank.enqueue(torch.randn(2, 2, dtype=dtype, requires_grad=True))
    assert bank.rows.dtype == torch.float32
    assert not bank.rows.requires_grad
