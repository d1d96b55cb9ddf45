"""Tests for asterism/views/randaugment.py."""

import pytest
import torch

from asterism.seeds import draws
from asterism.views import randaugment
from asterism.views.randaugment import OPERATIONS, rand_augment

NAMES = [operation.__name__.strip("_") for operation in OPERATIONS]


def pictures(n, channels=3, height=12, width=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(256, (n, channels, height, width), generator=generator)
    return levels.float() / 255


def chosen(name, n=1, side=0.9):
    """Numbers that choose one operation for all images; its sign is + above 1/2."""
    choice = (NAMES.index(name) + 0.5) / len(NAMES)
    return torch.tensor([[choice, side]], dtype=torch.float64).repeat(n, 1)


def test_there_are_fourteen_operations():
    assert len(NAMES) == len(set(NAMES)) == 14


def test_the_same_picture_gets_different_draws_and_a_seed_fixes_them():
    images, index = pictures(1).repeat(64, 1, 1, 1), torch.arange(64)
    views = rand_augment(images, draws(0, index, 1, 4))
    assert len(views.flatten(1).unique(dim=0)) > 32
    assert torch.equal(views, rand_augment(images, draws(0, index, 1, 4)))
    for other in (draws(1, index, 1, 4), draws(0, index, 2, 4)):
        assert not torch.equal(views, rand_augment(images, other))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_does_not_depend_on_the_batch_around_it(channels):
    images, index = pictures(97, channels), torch.arange(97)
    views = rand_augment(images, draws(0, index, 1, 4))
    for rows in (index[:1], index[40:43], index.flip(0), index[::2]):
        alone = rand_augment(images[rows], draws(0, rows, 1, 4))
        assert torch.equal(alone, views[rows])
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(rand_augment(channels_last, draws(0, index, 1, 4)), views)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (12, 10)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_output_stays_in_range_and_zero_is_the_identity(name, size, channels, magnitude):
    images = pictures(4, channels, *size)
    images[0], images[1] = 0, 1
    before = images.clone()
    for side in (0.1, 0.9):
        views = rand_augment(images, chosen(name, 4, side), magnitude=magnitude)
        assert views.shape == images.shape
        assert views.min() >= 0
        assert views.max() <= 1
        if magnitude == 0 and name not in ("autocontrast", "equalize"):
            torch.testing.assert_close(views, images, rtol=0, atol=1e-6)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "identity"])
def test_each_operation_does_something(name):
    images = 0.2 + 0.6 * pictures(1)
    one, other = (rand_augment(images, chosen(name, side=side)) for side in (0.1, 0.9))
    assert not torch.equal(one, images)
    unsigned = name in ("autocontrast", "equalize", "solarize", "posterize")
    assert torch.equal(one, other) == unsigned


def test_by_hand():
    images = torch.tensor([0.0, 0.2, 0.4, 0.8]).view(1, 1, 2, 2)

    def run(name, magnitude=30, side=0.9):
        return rand_augment(images, chosen(name, side=side), magnitude=magnitude).flatten()

    close = torch.testing.assert_close
    close(run("autocontrast"), torch.tensor([0.0, 0.25, 0.5, 1.0]))
    close(run("brightness"), torch.tensor([0.0, 0.38, 0.76, 1.0]))
    close(run("brightness", side=0.1), torch.tensor([0.0, 0.02, 0.04, 0.08]))
    close(run("contrast", side=0.1), torch.tensor([0.315, 0.335, 0.355, 0.395]))
    close(run("solarize", magnitude=15), torch.tensor([0.0, 0.2, 0.4, 0.2]))
    close(run("equalize"), torch.tensor([0.0, 85.0, 170.0, 255.0]) / 255)
    close(run("posterize"), torch.tensor([0.0, 48.0, 96.0, 192.0]) / 255)
    close(run("colour"), images.flatten())  # grey has none


def test_geometry_by_hand():
    images = torch.zeros(1, 1, 331, 331)
    images[..., 165, 165] = 1  # the middle stays where it is
    for name in ("rotate", "shear_x", "shear_y"):
        assert rand_augment(images, chosen(name), magnitude=30)[..., 165, 165] == pytest.approx(1)
    right, left = (
        rand_augment(images, chosen("translate_x", side=side), magnitude=30) for side in (0.1, 0.9)
    )
    assert right[..., 165, 165 + 150] == pytest.approx(1, abs=1e-3)
    assert left[..., 165, 165 - 150] == pytest.approx(1, abs=1e-3)
    images = torch.zeros(1, 1, 21, 21)
    images[..., 10, 20] = 1  # 10 right of the middle: a turn by 30 degrees lifts or lowers it by 5
    turned = rand_augment(images, chosen("rotate"), magnitude=30)
    row = turned[0, 0, :, 18:20].sum(1).argmax().item()
    assert row in (5, 15)


def test_sharpness_keeps_the_border():
    images = pictures(1)
    sharp = rand_augment(images, chosen("sharpness"))
    torch.testing.assert_close(sharp[..., 0, :], images[..., 0, :])
    middle = images[0, 0, :3, :3]
    smooth = (middle.sum() + 4 * middle[1, 1]) / 13
    expected = (middle[1, 1] + 0.27 * (middle[1, 1] - smooth)).clamp(0, 1)
    torch.testing.assert_close(sharp[0, 0, 1, 1], expected)


def test_no_operation_and_no_images():
    images = pictures(3)
    assert torch.equal(rand_augment(images, torch.rand(3, 0)), images)
    assert rand_augment(images[:0], torch.rand(0, 4)).shape == (0, 3, 12, 10)


def test_says_what_it_needs():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        randaugment.rand_augment(torch.rand(2, 4, 5, 5), torch.rand(2, 4))
    with pytest.raises(ValueError, match="two numbers for each operation and image"):
        rand_augment(torch.rand(2, 3, 5, 5), torch.rand(2, 3))
