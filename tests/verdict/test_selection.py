"""Tests for asterism/verdict/selection.py: what a guess may reach."""

import pytest
import torch

from asterism.data import open_data
from asterism.verdict import guessed


@pytest.mark.parametrize(
    ("share", "of_labels", "low", "high"),
    [
        (0.002, True, 0.8, 2.0),  # a few rows of as many classes
        (0.002, False, 1.0, 1.0),  # all others are the ten nearest
        (0.008, False, 0.7, 1.0),
        (0.1, True, 0.1, 0.2),
        (0.1, False, 0.05, 0.15),
    ],
)
def test_few_rows_can_be_guessed(share, of_labels, low, high):
    data = open_data("digits", validation_share=share)
    assert low <= guessed(data, of_labels=of_labels) <= high


def test_one_class_is_always_guessed_and_no_labels_never():
    data = open_data("digits")
    data.source.targets = torch.zeros_like(data.source.targets)
    assert guessed(data, of_labels=True) == 1.0
    data.source.targets = None
    assert guessed(data, of_labels=True) < 0
