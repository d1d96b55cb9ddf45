"""Tests for asterism/seeds.py: one mixer, for whole numbers and for tensors."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from asterism.seeds import _mix, _mixed, seed_of


def test_the_published_values_of_splitmix64():
    """The first outputs for the seed 1234567 (Vigna's reference implementation)."""
    state, found = 1234567, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        found.append(_mixed(state))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(-(2**63), 2**63 - 1))
def test_both_forms_agree(number):
    assert int(_mix(torch.tensor(number))) % 2**64 == _mixed(number % 2**64)


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
def test_a_seed_is_below_two_to_the_63_and_knows_order_and_length(key):
    assert 0 <= seed_of(*key) < 2**63
    assert seed_of(*key) != seed_of(*key, 0)
    if key != key[::-1]:
        assert seed_of(*key) != seed_of(*key[::-1])
    torch.Generator().manual_seed(seed_of(*key))
