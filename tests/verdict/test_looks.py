"""Tests for asterism/verdict/looks.py."""

import pytest
import torch
from scipy import stats

from asterism.chance import LEVEL, adjusted
from asterism.measures import mean_of, share_of
from asterism.verdict.looks import Look, verdicts


def test_equal_weights_give_holms_procedure():
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert adjusted(p_values, [1.0] * 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjusted([0.02], [0.5]) == [0.02]
    assert adjusted([], []) == []


def test_the_measure_named_beforehand_has_half_of_the_weight():
    """Half of the level is its own, however many others there are."""
    p_values = [0.02] + [0.5] * 99
    weights = [0.5] + [0.5 / 99] * 99
    assert adjusted(p_values, weights)[0] == pytest.approx(0.04)
    assert adjusted(p_values, [1.0] * 100)[0] == 1


def look(shift, n=400, *, better="higher", margin=0.01, primary=False, seed=0):
    noise = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Look(mean_of(shift + 0.05 * (noise - noise.mean())), better, margin, primary)


@pytest.mark.parametrize(
    ("shift", "n", "better", "expected"),
    [
        (0.05, 400, "higher", "better"), (0.05, 400, "lower", "worse"),
        (-0.05, 400, "higher", "worse"), (-0.05, 400, "lower", "better"),
        (0.001, 400, "higher", "equal"), (0.009, 10, "higher", "cannot tell"),
    ],
)  # fmt: skip
def test_a_verdict_has_four_words(shift, n, better, expected):
    assert verdicts([look(shift, n, better=better)]) == [expected]


def test_equal_needs_rows_even_where_no_row_differs():
    for n, expected in ((40, "cannot tell"), (2_000, "equal")):
        hits = share_of((torch.arange(n) % 10 > 0).double())
        assert verdicts([Look(hits.minus(hits), "higher", 0.01)]) == [expected]


def test_how_many_rows_would_tell():
    few = look(0.0, n=10)
    rows = few.rows_to_tell
    low, high = look(0.0, n=rows).gap.interval()
    assert (high - low) / 2 == pytest.approx(0.01, rel=0.25)
    assert look(0.0, margin=None).rows_to_tell is None


def test_reports_on_equal_models_are_seldom_wrong():
    """Forty measures that go together in part, 400 reports: any wrong in at most 5 %."""
    generator = torch.Generator().manual_seed(3)
    wrong = 0
    for _ in range(400):
        common = torch.randn(60, 1, generator=generator, dtype=torch.float64)
        gaps = common + torch.randn(60, 40, generator=generator, dtype=torch.float64)
        looks = [Look(mean_of(x), "higher", None, i == 0) for i, x in enumerate(gaps.T)]
        wrong += any(told != "cannot tell" for told in verdicts(looks))
    assert wrong <= stats.binom.ppf(0.999, 400, LEVEL)
