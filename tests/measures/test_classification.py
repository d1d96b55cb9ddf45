"""Tests for asterism/measures/classification.py."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from asterism.measures import Classification, calibration_error, classification


@pytest.mark.parametrize("c", [6, 10, 100])
def test_follows_scikit_learn(c, embeddings):
    logits = embeddings(200, c)
    target = torch.cat([torch.arange(c), torch.randint(c, (200 - c,))])
    measured = classification(logits, target)
    for k, value in ((1, measured.top1), (5, measured.top5)):
        assert value == pytest.approx(top_k_accuracy_score(target.numpy(), logits.numpy(), k=k))


def test_top5_says_nothing_about_five_classes(embeddings):
    assert classification(embeddings(4, 5), torch.arange(4)).top5 is None
    assert classification(embeddings(4, 6), torch.arange(4)).top5 is not None


def test_equal_logits_share_their_places():
    for target in (torch.arange(8), torch.zeros(8, dtype=int)):
        assert classification(torch.zeros(8, 8), target) == Classification(1 / 8, 5 / 8)
    # Three above; the target shares the places 4 to 6 with two others: two of three are in the top.
    row = torch.tensor([[9.0, 8.0, 7.0, 5.0, 5.0, 5.0, 1.0]])
    assert classification(row, torch.tensor([4])) == Classification(0.0, 2 / 3)


@given(seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=25)
def test_the_order_of_samples_and_classes_does_not_matter(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(4, (12, 8), generator=generator).float()  # many ties
    target = torch.randint(8, (12,), generator=generator)
    samples = torch.randperm(12, generator=generator)
    classes = torch.randperm(8, generator=generator)
    moved = classification(logits[samples][:, classes], classes.argsort()[target[samples]])
    assert asdict(moved) == pytest.approx(asdict(classification(logits, target)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_takes_any_type(dtype):
    logits = (1e4 * torch.eye(8)).to(dtype)
    assert classification(logits, torch.arange(8).int()) == Classification(1.0, 1.0)


def test_nan_is_wrong():
    logits = torch.eye(8)
    logits[0, 0] = logits[1, 5] = torch.nan
    logits[2] = torch.nan
    assert classification(logits, torch.arange(8)) == Classification(5 / 8, 6 / 8)


def test_no_samples_have_no_accuracy():
    measured = classification(torch.zeros(0, 8), torch.zeros(0, dtype=int))
    assert json.loads(json.dumps(asdict(measured))) == {"top1": None, "top5": None}


def test_says_what_it_needs():
    with pytest.raises(ValueError, match=r"one row of logits .* got \(4, 3\) and \(5,\)"):
        classification(torch.zeros(4, 3), torch.zeros(5, dtype=int))
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match="class numbers from 0 to 2"):
            classification(torch.zeros(2, 3), torch.tensor([1, wrong]))


def test_calibration_error_by_loops(embeddings):
    logits = 3 * embeddings(300, 4)
    target = torch.randint(4, (300,), generator=torch.Generator().manual_seed(0))
    bins = [[] for _ in range(15)]
    for row, own in zip(logits, target.tolist(), strict=True):
        confidence, chosen = row.softmax(0).max(0)
        number = next(b for b in range(15) if b / 15 < confidence <= (b + 1) / 15 + 1e-12)
        bins[number].append((float(confidence), int(chosen) == own))
    expected = 0
    for members in filter(None, bins):
        confidence, right = np.mean(members, axis=0)
        expected += len(members) / 300 * abs(confidence - right)
    found = calibration_error(logits, target)
    assert found == pytest.approx(expected)
    low, high = found.interval()
    assert low < found < high


def test_calibration_of_the_sure_the_wrong_and_the_calibrated():
    sure, target = 100 * torch.eye(5), torch.arange(5)
    assert calibration_error(sure, target) == pytest.approx(0)
    assert calibration_error(sure, (target + 1) % 5) == pytest.approx(1)
    assert calibration_error(torch.zeros(5, 5), target) == pytest.approx(0)
    assert calibration_error(sure[:0], target[:0]) is None
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 6, generator=generator)
    drawn = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert calibration_error(logits, drawn) < 0.4 * (15 / 20_000) ** 0.5 * 2
    assert calibration_error(4 * logits, drawn) > 0.2
    with pytest.raises(ValueError, match="calibration_error needs class numbers from 0 to 5"):
        calibration_error(logits, drawn + 6)
