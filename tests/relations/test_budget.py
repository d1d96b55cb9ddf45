"""Tests for asterism/relations/budget.py."""

import pytest
import torch

from asterism import relation_memory
from asterism.relations.budget import block_elements

CPU, GPU = torch.empty(0), torch.empty(0, device="meta")


def test_blocks_fit_the_budget_and_on_a_cpu_the_cache():
    assert block_elements(CPU, bytes_each=4, in_cache=1000) == 1000
    assert block_elements(GPU, bytes_each=4, in_cache=1000) == 2**26
    with relation_memory(1):
        assert block_elements(CPU, bytes_each=4, in_cache=2**30) == 2**18
        assert block_elements(GPU, bytes_each=4, in_cache=1000) == 2**18
        with relation_memory(1e-9):
            assert block_elements(CPU, bytes_each=4, in_cache=1000) == 1
        assert block_elements(GPU, bytes_each=4, in_cache=1000) == 2**18
        with relation_memory(None):
            assert block_elements(GPU, bytes_each=4, in_cache=1000) == 2**26
    assert block_elements(GPU, bytes_each=4, in_cache=1000) == 2**26


@pytest.mark.parametrize("megabytes", [0, -1, float("nan")])
def test_says_what_a_budget_is(megabytes):
    with pytest.raises(ValueError, match="positive number of megabytes; got"):
        with relation_memory(megabytes):
            pass
