"""Tests for asterism/training/anchors.py."""

import dataclasses

import pytest
import torch

from asterism import RRKD, Outputs
from asterism.data import ArraySource, Data
from asterism.modality import IMAGE
from asterism.teachers import LiveTeacher
from asterism.training.anchors import choose_anchors
from asterism.types import Batch

ROWS, CLASSES = 60, 3


class Holey(ArraySource):
    """A source of which every seventh sample cannot be read."""

    def __getitems__(self, rows):
        read = [row for row in rows if row % 7]
        lost = tuple(str(row) for row in rows if row % 7 == 0)
        batch = super().__getitems__(read)
        return Batch(batch.views, batch.index, batch.target, broken=lost)


class Teacher(torch.nn.Module):
    """Scores that are written in the image: its first pixel, for the class of its second."""

    def forward(self, images):
        flat = images.flatten(1) * 255
        logits = torch.zeros(len(flat), CLASSES)
        logits[torch.arange(len(flat)), flat[:, 1].round().long()] = flat[:, 0] / 30
        return Outputs(flat, logits)


def taught():
    return LiveTeacher(Teacher(), IMAGE, (1, 2, 1))


@pytest.fixture
def data():
    confidence = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    target = torch.arange(ROWS) % CLASSES
    says = torch.where(torch.arange(ROWS) % 5 == 0, (target + 1) % CLASSES, target)  # some wrong
    images = torch.stack([confidence, says], 1).byte()[:, None, :, None]
    source = Holey(images, target)
    return Data(source, torch.arange(50), torch.arange(50, ROWS))


def test_most_confident_anchors_are_those_although_some_cannot_be_read(data):
    method = RRKD(anchors="most-confident", anchor_count=6)
    images, outputs = choose_anchors([method], taught(), data, seed=0)
    rows = [r for r in range(50) if r % 7 and r % 5]  # readable, and the teacher is right
    sure = data.source.samples[:, 0, 0, 0].int()
    for c in range(CLASSES):
        own = sorted((int(sure[r]) for r in rows if r % CLASSES == c), reverse=True)[:2]
        found = (images[2 * c : 2 * c + 2, 0, 0, 0] * 255).round().int().tolist()
        assert found == own
    torch.testing.assert_close(outputs.embedding, (images * 255).flatten(1))


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ([("random", 51)], "anchor_count of 51 needs as many training samples; there are 50"),
        ([("per-class", 51)], "17 samples of each class, and one class has 16: lower it to 48"),
        ([("random", 6), ("per-class", 6)], "the same ones; got 6 per-class and 6 random"),
    ],
)
def test_anchors_that_cannot_be_had_are_refused(data, wishes, message):
    methods = [RRKD(anchors=name, anchor_count=count) for name, count in wishes]
    with pytest.raises(ValueError, match=message):
        choose_anchors(methods, taught(), data, seed=0)


def test_a_class_without_training_samples_can_only_have_random_anchors(data):
    data = dataclasses.replace(data, train=torch.arange(1, 50, 3))  # all of class 1
    method = RRKD(anchors="per-class", anchor_count=6)
    with pytest.raises(ValueError, match="one class has 0: choose random anchors"):
        choose_anchors([method], taught(), data, seed=0)


@pytest.mark.parametrize("anchors", ["per-class", "most-confident"])
def test_fewer_anchors_than_classes_are_refused(data, anchors):
    method = RRKD(anchors=anchors, anchor_count=CLASSES - 1)
    with pytest.raises(ValueError, match="one for each of the 3 classes; got an anchor_count of 2"):
        choose_anchors([method], taught(), data, seed=0)


@pytest.mark.parametrize("anchors", ["random", "per-class"])
def test_random_anchors_are_training_samples_drawn_by_the_seed(data, anchors):
    method = RRKD(anchors=anchors, anchor_count=9)
    one, two, other = (choose_anchors([method], taught(), data, seed=s)[0] for s in (0, 0, 1))
    assert one.equal(two)
    assert not one.equal(other)
    train = {int(x) for x in data.source.samples[:50, 0, 0, 0]}
    assert {int(x) for x in (one[:, 0, 0, 0] * 255).round()} <= train
