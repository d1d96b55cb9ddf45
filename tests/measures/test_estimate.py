"""Tests for asterism/measures/estimate.py."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from asterism.measures import Estimate, calibration_error, health, mean_of
from asterism.measures.estimate import GROUPS, RESAMPLES, resampled_sum, resamples


def test_is_the_number_and_travels_as_one(embeddings):
    scores = embeddings(40, 1)[:, 0]
    found = mean_of(scores)
    assert found == pytest.approx(float(scores.mean()))
    assert json.loads(json.dumps({"x": found})) == {"x": float(found)}
    assert copy.deepcopy(found) is found
    assert torch.equal(found.scores, scores)


def test_the_interval_is_scipys_percentile_bootstrap(embeddings):
    scores = embeddings(200, 1)[:, 0].exp()
    low, high = mean_of(scores).interval()
    oracle = stats.bootstrap(
        (scores.numpy(),), np.mean, n_resamples=4000, method="percentile", random_state=0
    ).confidence_interval
    width = oracle.high - oracle.low
    assert low == pytest.approx(oracle.low, abs=0.06 * width)
    assert high == pytest.approx(oracle.high, abs=0.06 * width)
    inner = mean_of(scores).interval(0.5)
    assert low < inner[0] < float(scores.mean()) < inner[1] < high


def test_it_covers_the_truth_about_as_often_as_it_says(embeddings):
    """Shares of 0.8 from 150 samples: 95 % of the intervals should hold 0.8."""
    trials = (torch.rand(300, 150, generator=torch.Generator().manual_seed(1)) < 0.8).double()
    ends = [mean_of(scores).interval() for scores in trials]
    assert 0.90 < sum(low <= 0.8 <= high for low, high in ends) / len(ends) < 0.99


def test_samples_that_do_not_count_are_left_out_of_every_replicate():
    scores = torch.tensor([1.0, math.nan, 0.0, math.nan, 1.0, 1.0])
    found = mean_of(scores)
    assert found == 0.75
    expected = []
    for counts in resamples(6).double():
        weight = counts * ~scores.isnan()
        expected.append(float((weight * scores.nan_to_num()).sum() / max(1.0, weight.sum())))
    assert found.replicates.tolist() == pytest.approx(expected)
    assert mean_of(torch.full((3,), math.nan)) is None
    assert mean_of(torch.empty(0)) is None


def test_differences_are_paired(embeddings):
    """A constant gain is certain, however much the samples differ."""
    scores = 10 * embeddings(50, 1)[:, 0]
    better, worse = mean_of(scores + 0.1), mean_of(scores)
    assert better.minus(worse).interval() == pytest.approx((0.1, 0.1))
    assert better.interval()[0] < worse.interval()[1]  # unpaired, nobody could tell
    # The interval is the t interval of the differences, but for the bootstrap's own noise.
    other = mean_of(embeddings(50, 1, seed=1)[:, 0])
    low, high = other.minus(worse).interval()
    gaps = (other.scores - worse.scores).numpy()
    oracle = stats.t.interval(0.95, 49, gaps.mean(), stats.sem(gaps))
    assert (low, high) == pytest.approx(oracle, abs=0.15 * (oracle[1] - oracle[0]))


def test_the_jackknife_of_a_mean_is_its_standard_error(embeddings):
    """Leaving out one of `n` samples each gives the textbook t interval exactly."""
    x = embeddings(15, 1)[:, 0]
    left_out = (x.sum() - x) / 14
    low, high = Estimate(float(x.mean()), lambda: left_out, jackknife=True).interval()
    oracle = stats.t.interval(0.95, 14, float(x.mean()), stats.sem(x.numpy()))
    assert (low, high) == pytest.approx(oracle)


def test_what_is_never_negative_has_no_negative_end():
    logits = torch.tensor([[4.0, 0.0]]).repeat(30, 1)
    target = (torch.arange(30) >= 29).long()
    low, high = calibration_error(logits, target).interval()
    assert 0 <= low < high
    assert mean_of(torch.tensor([-1.0, 1.0, -1.0])).interval()[0] < 0


def test_resamples_are_draws_with_replacement_by_seed():
    counts = resamples(25)
    assert counts.shape == (RESAMPLES, 25)
    assert (counts.long().sum(1) == 25).all()
    assert counts.double().var(correction=0) == pytest.approx(1 - 1 / 25, abs=0.05)
    resamples.cache_clear()
    assert torch.equal(counts, resamples(25))
    table = torch.arange(50.0, dtype=torch.float64).view(25, 2)
    assert torch.allclose(resampled_sum(table), counts.double() @ table)


def test_draws_nothing_from_the_global_generator_and_nothing_early(embeddings):
    state = torch.get_rng_state()
    found = health(embeddings(60, 3))
    assert "replicates" not in vars(found.anisotropy)
    assert len(found.anisotropy.replicates) == GROUPS
    assert torch.equal(torch.get_rng_state(), state)
