"""Tests for asterism/models/adapt.py: what networks return, in both modes."""

from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn

from asterism.models.adapt import Adapted, Channels
from asterism.types import Outputs

CLASSES, WIDTH = 10, 32
Inception = namedtuple("Inception", "logits aux_logits")


class Net(nn.Module):
    """A network whose forms are made of an embedding e, scores z and an auxiliary classifier's."""

    def __init__(self, evaluated, trained=None, *, aux=CLASSES, scale=1.0):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, CLASSES)
        self.aux = nn.Linear(WIDTH, aux)
        self.scale = scale
        self.forms = {False: evaluated, True: trained or evaluated}

    def forward(self, images):
        e = nn.functional.dropout(self.body(images), 0.1, self.training)
        z = self.head(e)
        self.passed = e, z
        return self.forms[self.training](e, z if self.scale == 1 else z * self.scale, self.aux)


def alone(e, z, aux):
    return z


# What is returned in eval mode and in train mode, of which the scores are the main ones.
GOOD = {
    "alone": (alone, alone),
    "pair": (lambda e, z, aux: (e, z), None),
    "outputs": (lambda e, z, aux: Outputs(e, z), None),
    "names": (lambda e, z, aux: OrderedDict(logits=z, hidden=e), None),
    "both names": (lambda e, z, aux: {"embedding": e, "logits": z, "aux": aux(e)}, None),
    "dict of features": (lambda e, z, aux: (z, {"feats": [e, e], "pooled": e}), None),
    "list of features": (lambda e, z, aux: ([e.view(-1, 2, 4, 4), e], z), None),
    "aux while training": (alone, lambda e, z, aux: (z, aux(e))),
    "aux first": (alone, lambda e, z, aux: (aux(e), z)),
    "two aux": (alone, lambda e, z, aux: [z, aux(e), aux(e)]),
    "list of aux": (alone, lambda e, z, aux: (z, [aux(e), aux(e)])),
    "aux by name": (alone, lambda e, z, aux: Inception(z, aux(e))),
    "aux by other names": (alone, lambda e, z, aux: {"aux": aux(e), "out": z}),
    "pair and aux": (lambda e, z, aux: (e, z), lambda e, z, aux: (e, z, aux(e))),
    "embedding while training": (alone, lambda e, z, aux: (e, z)),
}


@pytest.mark.parametrize("aux", [CLASSES, 1000])
@pytest.mark.parametrize("form", GOOD)
def test_the_main_output_is_taken_in_both_modes(form, aux):
    net = Net(*GOOD[form], aux=aux)
    model = Adapted(net, classes=CLASSES)
    for training in (False, True, False):
        outputs = model.train(training)(torch.rand(3, 1, 8, 8))
        e, z = net.passed
        assert torch.equal(outputs.logits, z)
        assert torch.equal(outputs.embedding, e)


BAD = {
    "numbers of classes": (lambda e, z, aux: z.argmax(1, keepdim=True), None, "floating-point"),
    "swapped": (lambda e, z, aux: (z, e), None, "the other way round"),
    "two classifiers": (lambda e, z, aux: (z, aux(e)), None, "which scores are its main ones"),
    "three": (lambda e, z, aux: (e, z, aux(e)), None, r"a tuple of a tensor \(3, 32\) and"),
    "other names": (lambda e, z, aux: {"out": z}, None, r"a dict \(out\)"),
    "nothing": (lambda e, z, aux: (), None, "a tuple of nothing"),
    "flat": (lambda e, z, aux: z.sum(1), None, r"a tensor \(3,\)"),
}


@pytest.mark.parametrize("form", BAD)
def test_other_forms_are_refused_in_words(form):
    *forms, message = BAD[form]
    with pytest.raises(ValueError, match=message):
        Adapted(Net(*forms), classes=CLASSES).eval()(torch.rand(3, 1, 8, 8))


def test_scores_that_come_from_no_layer_are_known_by_their_width_or_refused():
    both = alone, lambda e, z, aux: (z, aux(e))
    for aux in (1000, CLASSES):
        net = Net(*both, aux=aux, scale=2.0)
        model = Adapted(net, classes=CLASSES)
        model.eval()(torch.rand(3, 1, 8, 8))
        model.train()
        if aux == CLASSES:
            with pytest.raises(ValueError, match="nothing says which of them"):
                model(torch.rand(3, 1, 8, 8))
        else:
            outputs = model(torch.rand(3, 1, 8, 8))
            assert torch.equal(outputs.embedding, net.passed[0])
            assert torch.equal(outputs.logits, 2 * net.passed[1])


def test_the_mean_of_two_classifiers_is_neither_of_them():
    distilled = lambda e, z, aux: (z + aux(e)) / 2, lambda e, z, aux: (z, aux(e))
    model = Adapted(Net(*distilled), classes=CLASSES)
    model.eval()(torch.rand(3, 1, 8, 8))
    with pytest.raises(ValueError, match="nothing says which of them"):
        model.train()(torch.rand(3, 1, 8, 8))


def test_what_a_module_changes_in_place_is_its_own():
    class InPlace(nn.Module):
        def forward(self, images):
            return images.sub_(0.3).div_(0.4).flatten(1)

    images = torch.rand(2, 1, 8, 8)
    before = images.clone()
    Adapted(InPlace())(images)
    assert torch.equal(images, before)


def test_channels_are_those_of_pillow():
    colours = torch.rand(2, 3, 4, 4)
    grey = Channels(nn.Identity(), 1)(colours)
    assert grey.shape == (2, 1, 4, 4)
    torch.testing.assert_close(
        grey[:, 0], 0.299 * colours[:, 0] + 0.587 * colours[:, 1] + 0.114 * colours[:, 2]
    )
    assert torch.equal(Channels(nn.Identity(), 3)(grey), grey.expand(-1, 3, -1, -1))
    assert torch.equal(Channels(nn.Identity(), 3)(colours), colours)
