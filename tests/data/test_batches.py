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


SIZES = [(12, 4), (10, 2), (5, 1), (8, 4), (12, 5), (7, 3), (23, 5), (8, 8)]


@pytest.mark.parametrize(("batch_size", "per_class"), SIZES)
def test_every_batch_has_so_many_samples_of_each_class_but_for_the_last(batch_size, per_class):
    for epoch in range(4):
        batches = list(order(batch_size, per_class, epoch=epoch))
        assert len(batches) == len(order(batch_size, per_class))
        for batch in batches:
            assert 0 not in batch
            assert len(set(batch)) == len(batch) == batch_size
            counts = TARGETS[batch].bincount(minlength=5)
            whole = torch.tensor([40, 20, 20, 9, 3]).clamp_max(per_class)
            present = counts > 0
            assert (counts[present] < whole[present]).sum() <= 1
            assert (counts <= whole).all()


@pytest.mark.parametrize("per_class", [None, 4])
def test_an_epoch_of_so_many_steps_is_a_part_of_an_endless_stream_of_passes(per_class):
    def made(steps):
        how = {"seed": 0, "targets": TARGETS, "per_class": per_class}
        return training_order(ROWS, 12, steps=steps, **how)

    usual, short, long = made(None), made(3), made(20)
    length = len(usual)
    assert (len(short), len(long)) == (3, 20)

    def stream(order, epochs):
        batches, numbers = [], []
        for epoch in range(epochs):
            order.begin(epoch, 0)
            numbers += [order.passes(i) for i in range(len(order))]
            batches += list(order)
        return batches, numbers

    batches, numbers = stream(usual, 9)
    assert numbers == [i // length for i in range(9 * length)]
    for other, epochs in ((short, 8), (long, 3)):
        found, passes = stream(other, epochs)
        assert found == batches[: len(found)]
        assert passes == numbers[: len(found)]
    long.begin(1, 7)
    assert list(long) == batches[27:40]


def test_classes_come_equally_often_and_samples_evenly():
    counts = torch.zeros(len(TARGETS))
    epochs = 20
    for epoch in range(epochs):
        batches = list(order(epoch=epoch))
        rows = [row for batch in batches for row in batch]
        turns = sum((TARGETS[batch].bincount(minlength=5) > 0).long() for batch in batches)
        assert turns.max() - turns.min() <= 1
        counts += torch.tensor(rows).bincount(minlength=len(TARGETS))
    assert counts[1:].min() > 0
    small, large = counts[TARGETS == 4], counts[1:][TARGETS[1:] == 0]
    assert small.max() - small.min() <= epochs  # within an epoch rows differ by one at most
    assert small.mean() > 5 * large.mean()
    of_class = torch.zeros(5).index_add_(0, TARGETS, counts)[:4]  # of four in a batch
    assert of_class.max() < 1.2 * of_class.min()


def test_it_is_a_pure_function_of_seed_and_epoch():
    assert list(order(epoch=2)) == list(order(epoch=2))
    assert list(order(epoch=2)) != list(order(epoch=1))
    assert list(order(seed=4)) != list(order(seed=3))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="the 5 classes to train on give 19 samples"):
        order(24, 4)
    with pytest.raises(ValueError, match="samples_per_class 8 is more than the 3 samples of a s"):
        order(3, 8)
    with pytest.raises(ValueError, match="samples_per_class needs labels"):
        training_order(ROWS, 4, seed=0, per_class=2)
