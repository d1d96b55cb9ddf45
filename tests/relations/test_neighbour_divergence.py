"""Tests for asterism/relations/neighbours.py."""

import math

import pytest
import torch

from asterism.relations.neighbours import log_neighbours, temperature_for


def similar(embeddings, n=30, d=8):
    rows = torch.nn.functional.normalize(embeddings(n, d))
    return rows @ rows.T, torch.eye(n, dtype=torch.bool)


def test_what_is_left_out_has_no_probability(embeddings):
    near, left_out = similar(embeddings, 5)
    left_out[3] = True
    log_p = log_neighbours(near, left_out, 0.1)
    assert log_p.isfinite().all()
    p = log_p.exp()
    assert (p[:3][left_out[:3]] == 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(5, dtype=torch.float64))
    weights = [math.exp(near[0, j].item() / 0.1) for j in range(1, 5)]
    assert p[0, 1].item() == pytest.approx(weights[0] / sum(weights), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("perplexity", [1.5, 5, 14])
def test_the_temperature_gives_the_perplexity(perplexity, dtype, embeddings):
    near, left_out = similar(embeddings)
    near = near.to(dtype)
    temperature = temperature_for(near, left_out, perplexity)
    log_p = log_neighbours(near, left_out, temperature)
    found = (-(log_p.exp() * log_p).sum(1)).exp().median()
    assert found.item() == pytest.approx(perplexity, rel=1e-4)


def test_more_neighbours_than_there_are_become_half_of_them(embeddings):
    near, left_out = similar(embeddings, 9)
    torch.testing.assert_close(
        temperature_for(near, left_out, 1000), temperature_for(near, left_out, 4)
    )
    for n in (1, 2):
        few = near[:n, :n], left_out[:n, :n]
        assert temperature_for(*few, 5).isfinite()


def test_a_median_needs_not_look_at_all(embeddings, monkeypatch):
    near, left_out = similar(embeddings, 60)
    expected = temperature_for(near, left_out, 5)
    monkeypatch.setattr("asterism.relations.neighbours.LOOKED_AT", 1200)
    assert temperature_for(near, left_out, 5).item() == pytest.approx(expected.item(), rel=0.2)
