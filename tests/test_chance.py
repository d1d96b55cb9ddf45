"""Tests for asterism/chance.py; Holm's procedure is in tests/verdict/test_looks.py."""

import numpy as np
import pytest
from scipy import stats

from asterism.chance import over_seeds


def test_without_an_error_over_samples_it_is_the_paired_t_test():
    gaps = [0.5, 1.4, 0.9, 1.1]
    found = over_seeds(gaps, [None] * 4)
    oracle = stats.ttest_1samp(gaps, 0)
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)))


def test_rows_that_all_share_do_not_average_out():
    same = over_seeds([1.0, 1.0, 1.0], [(0.0, 2.0)] * 3)
    assert (same.low, same.high) == pytest.approx((0, 2), abs=1e-2)
    assert over_seeds([0.0, 0.0], [None, None]).p_value == 1


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("rows", [0.0, 1.0])
def test_the_interval_over_seeds_and_samples_holds(seeds, rows):
    """Differences of seeds with deviation 1, and a common error of the rows."""
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(1_000):
        gaps = draw.normal(size=seeds) + rows * draw.normal()
        found = over_seeds(list(gaps), [(-1.96 * rows, 1.96 * rows)] * seeds)
        held += found.low <= 0 <= found.high
    assert 930 <= held <= 990
