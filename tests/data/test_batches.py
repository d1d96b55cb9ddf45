"""Tests for batches composed by class."""

import pytest
import torch

from asterism.data.batches import ClassOrder, training_order

# Five classes of 3 to 40 samples; row 0 is not for training.
TARGETS = torch.arange(5).repeat_interleave(torch.tensor([40, 20, 20, 9, 3]))
ROWS = torch.arange(1, len(TARGETS))


def order(batch_size=12, per_class=4, seed=3, epoch=0):
    found = ClassOrder(ROWS, batch_size, seed=seed, targets=TARGETS, per_class=per_class)
    found.set_epoch(epoch)
    return found


@pytest.mark.parametrize(("batch_size", "per_class"), [(12, 4), (10, 2), (5, 1), (8, 4)])
def test_every_batch_has_so_many_classes_with_so_many_samples(batch_size, per_class):
    for epoch in range(4):
        batches = list(order(batch_size, per_class, epoch=epoch))
        assert len(batches) == len(order(batch_size, per_class))
        for batch in batches:
            assert 0 not in batch
            assert sorted(TARGETS[batch].bincount(minlength=5).tolist(), reverse=True) == (
                [per_class] * (batch_size // per_class) + [0] * (5 - batch_size // per_class)
            )


def test_classes_come_equally_often_and_samples_evenly():
    counts = torch.zeros(len(TARGETS))
    epochs = 20
    for epoch in range(epochs):
        rows = [row for batch in order(epoch=epoch) for row in batch]
        by_class = TARGETS[rows].bincount(minlength=5)
        assert by_class.max() - by_class.min() <= 4
        counts += torch.tensor(rows).bincount(minlength=len(TARGETS))
    assert counts[1:].min() > 0
    small, large = counts[TARGETS == 4], counts[1:][TARGETS[1:] == 0]
    assert small.max() - small.min() <= epochs  # within an epoch rows differ by one at most
    assert small.mean() > 5 * large.mean()


def test_it_is_a_pure_function_of_seed_and_epoch():
    assert list(order(epoch=2)) == list(order(epoch=2))
    assert list(order(epoch=2)) != list(order(epoch=1))
    assert list(order(seed=4)) != list(order(seed=3))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at most 20 samples, as the data have 5 classes"):
        order(24, 4)
    with pytest.raises(ValueError, match="need a multiple of 5"):
        order(12, 5)
    with pytest.raises(ValueError, match="samples_per_class needs labels"):
        training_order(ROWS, 4, seed=0, per_class=2)
