"""Tests for asterism/measures/estimate.py."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from asterism.measures import Estimate, calibration_error, health, mean_of, share_of
from asterism.measures.estimate import CORRELATION, POSITIVE


def test_is_the_number_and_travels_as_one(embeddings):
    scores = embeddings(40, 1)[:, 0]
    found = mean_of(scores)
    assert found == pytest.approx(float(scores.mean()))
    assert json.loads(json.dumps({"x": found})) == {"x": float(found)}
    assert copy.deepcopy(found) is found
    assert torch.equal(found.scores, scores)


def test_the_interval_of_a_mean_is_students(embeddings):
    x = embeddings(150, 1)[:, 0]
    found = mean_of(x)
    assert found.error() == pytest.approx(stats.sem(x.numpy()))
    oracle = stats.t.interval(0.95, found.freedom, float(x.mean()), stats.sem(x.numpy()))
    assert found.interval() == pytest.approx(oracle)
    assert 90 < found.freedom <= 149  # of normal scores about as many as there are
    heavy = torch.cat([x[:-1] / 1e3, torch.tensor([9.0])])
    assert mean_of(heavy).freedom == pytest.approx(2, abs=0.1)  # the fewest


@pytest.mark.parametrize(("hits", "n"), [(8, 10), (70, 300), (0, 20), (50, 50)])
def test_the_interval_of_a_share_is_wilsons(hits, n):
    found = share_of((torch.arange(n) < hits).double())
    # Wilson's with Student's quantile, and the error with n - 1.
    level = 2 * stats.norm.cdf(stats.t.ppf(0.975, n - 1) * (n / (n - 1)) ** 0.5) - 1
    if 0 < hits < n:
        oracle = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
        # Towards the edges it is opened as far as the exact bound to one side.
        draws = hits / n * (n - 1)
        edges = (
            stats.beta.ppf(0.05, draws, n - draws),
            stats.beta.ppf(0.95, draws + 1, n - 1 - draws),
        )
        oracle = min(oracle.low, edges[0]), max(oracle.high, edges[1])
        assert found.interval() == pytest.approx(oracle, abs=1e-9)
    low, high = found.interval()
    assert 0 <= low <= hits / n <= high <= 1
    assert high - low > 2 / n  # no miss was seen, which is not that there are none


@pytest.mark.parametrize(("n", "share"), [(40, 0.5), (40, 0.9), (100, 0.99), (300, 0.99)])
def test_a_share_is_covered_as_often_as_it_says(n, share):
    """Over all numbers of hits, by their chance."""
    chance = stats.binom.pmf(range(n + 1), n, share)
    ends = [share_of((torch.arange(n) < hits).double()).interval() for hits in range(n + 1)]
    held = sum(p for p, (low, high) in zip(chance, ends, strict=True) if low <= share <= high)
    assert 0.93 < held < 0.985


def test_a_correlation_has_fishers_interval():
    parts = torch.linspace(-1, 1, 60, dtype=torch.float64) / 60
    found = Estimate(0.8, parts, count=60, bounds=CORRELATION)
    reach = stats.t.ppf(0.975, found.freedom) * found.error() / (1 - 0.8**2)
    ends = np.tanh(np.arctanh(0.8) + np.array([-reach, reach]))
    assert found.interval() == pytest.approx(tuple(ends))
    assert Estimate(1.0, 0 * parts, count=60, bounds=CORRELATION).interval() == (1, 1)


def test_skewed_means_are_covered():
    draws = torch.empty(2_000, 40, dtype=torch.float64)
    draws.exponential_(generator=torch.Generator().manual_seed(1))
    ends = [mean_of(scores, bounds=POSITIVE).interval() for scores in draws]
    assert 0.93 < sum(low <= 1 <= high for low, high in ends) / len(ends) < 0.985
    assert all(low >= 0 for low, _ in ends)


def test_samples_that_do_not_count_are_left_out():
    found = mean_of(torch.tensor([1.0, math.nan, 0.0, math.nan, 1.0, 1.0]))
    assert (found, found.count) == (0.75, 4)
    assert found.interval() == mean_of(torch.tensor([1.0, 0.0, 1.0, 1.0])).interval()
    assert mean_of(torch.full((3,), math.nan)) is None
    assert mean_of(torch.empty(0)) is None
    assert mean_of(torch.ones(1)).interval() == (-math.inf, math.inf)
    assert share_of(torch.ones(1)).interval() == (0, 1)


def test_differences_are_paired(embeddings):
    """A constant gain is certain, however much the samples differ."""
    scores = 10 * embeddings(50, 1)[:, 0]
    better, worse = mean_of(scores + 0.1), mean_of(scores)
    assert better.minus(worse).interval() == pytest.approx((0.1, 0.1))
    assert better.minus(worse).p_value() == pytest.approx(0, abs=1e-9)
    assert better.interval()[0] < worse.interval()[1]  # unpaired, nobody could tell
    other = mean_of(embeddings(50, 1, seed=1)[:, 0])
    gap = other.minus(worse)
    oracle = stats.ttest_rel(other.scores, worse.scores)
    assert gap.p_value() == pytest.approx(oracle.pvalue, rel=0.2)  # but for the freedom


def test_equal_hits_are_no_proof_of_equal_models():
    found = share_of((torch.arange(40) < 30).double())
    low, high = found.minus(found).interval()
    assert low == -high
    assert 0.05 < high < 0.1  # Bonett and Price: as if one more had gone each way
    assert found.minus(found).p_value() == 1


def test_what_is_never_negative_has_no_negative_end():
    logits = torch.tensor([[4.0, 0.0]]).repeat(30, 1)
    target = (torch.arange(30) >= 29).long()
    low, high = calibration_error(logits, target).interval()
    assert 0 <= low < high
    assert mean_of(torch.tensor([-1.0, 1.0, -1.0])).interval()[0] < 0


def test_draws_nothing_from_the_global_generator(embeddings):
    state = torch.get_rng_state()
    health(embeddings(60, 3)).anisotropy.interval()
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(health(embeddings(60, 3)).anisotropy, Estimate)
