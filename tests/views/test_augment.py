"""Tests for asterism/views/augment.py."""

import pytest
import torch

from asterism.seeds import draws, seed_of
from asterism.views.augment import Views, crop_and_flip
from asterism.views.randaugment import rand_augment


def test_draws_are_uniform_and_independent():
    numbers = draws(0, torch.arange(20_000), 3, 4)
    counts = torch.histc(numbers.flatten(), bins=20, min=0, max=1)
    assert ((counts - 4000).abs() < 5 * 4000**0.5).all()
    others = draws(0, torch.arange(20_000), 4, 4), draws(1, torch.arange(20_000), 3, 4)
    every = torch.cat([numbers, *others, numbers.roll(1, 0)], 1)
    correlation = torch.corrcoef(every.T) - torch.eye(16)
    assert correlation.abs().max() < 0.04
    assert 0 <= numbers.min()
    assert numbers.max() < 1


def test_a_draw_is_pinned():
    """Views are part of caches and of published runs: the numbers must never change."""
    expected = torch.tensor([[0.9207, 0.7123], [0.9006, 0.0464]])
    found = draws(7, torch.tensor([0, 5]), 2, 2)
    torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=0)


MORE = {"area": (0.1, 0.9), "ratio": 2.0, "jitter": 0.7}


@pytest.mark.parametrize("more", [{}, MORE, {"jitter": 0.5}], ids=["shift", "all", "jitter"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_does_not_depend_on_the_batch_around_it(more, channels):
    images = torch.randint(256, (6, channels, 8, 8)).byte()
    index = torch.tensor([9, 4, 7, 1, 0, 3])
    views = Views(seed=5, padding=2, **more)
    (whole,) = views(images, index, 11)
    for i in range(6):
        (alone,) = views(images[i : i + 1], index[i : i + 1], 11)
        assert torch.equal(alone[0], whole[i])
    assert not torch.equal(views(images, index, 12)[0], whole)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_and_flip_against_a_loop(dtype):
    images = torch.randint(256, (30, 2, 5, 7)).to(dtype)
    index = torch.arange(30)
    found = crop_and_flip(images, index, view=0, seed=0, padding=2, flip=True)
    numbers = draws(0, index, 0, 3)
    for i in range(30):
        top, left = int(numbers[i, 0] * 5), int(numbers[i, 1] * 5)
        padded = torch.zeros(2, 9, 11, dtype=dtype)
        padded[:, 2:7, 2:9] = images[i]
        expected = padded[:, top : top + 5, left : left + 7]
        expected = expected if numbers[i, 2] < 0.5 else expected.flip(2)
        assert torch.equal(found[i], expected)


def plane(n, height, width):
    """Images that hold their own coordinates, from 0 to 1 between their borders."""
    y, x = (torch.arange(size).add(0.5) / size for size in (height, width))
    return torch.stack(torch.meshgrid(y, x, indexing="ij")).expand(n, 2, height, width).clone()


def test_a_resized_crop_is_a_part_of_the_asked_area_and_ratio():
    """Seen in images of coordinates: what stands in a view's corners is the part it shows."""
    n, height, width = 400, 40, 60
    views = Views(area=(0.2, 0.5), ratio=1.5, flip=True)
    (found,) = views(plane(n, height, width), torch.arange(n), 3)
    tall = (found[:, 0, -2, 1] - found[:, 0, 1, 1]) * height / (height - 3)
    wide = (found[:, 1, 1, -2] - found[:, 1, 1, 1]) * width / (width - 3)
    mirrored = wide < 0
    assert 0.4 < mirrored.float().mean() < 0.6
    area, slim = tall * wide.abs(), wide.abs() / tall
    assert area.min() > 0.19
    assert area.max() < 0.51
    assert slim.min() > 1 / 1.52
    assert slim.max() < 1.52
    assert slim.log().mean().abs() < 0.05
    assert abs(area.mean() - 0.35) < 0.02
    middle = found[:, :, 19:21, 29:31].mean((2, 3))
    assert middle.std(0).min() > 0.1  # they lie everywhere
    assert (middle.mean(0) - 0.5).abs().max() < 0.03
    (same,) = Views(area=(1.0, 1.0), ratio=1.0, flip=False)(plane(2, 9, 7), torch.arange(2), 0)
    torch.testing.assert_close(same, plane(2, 9, 7))


def test_color_jitter_is_its_formula_and_nothing_else_changes_with_it():
    images, index = torch.rand(50, 3, 6, 6), torch.arange(50)
    plain, jittered = Views(padding=1), Views(padding=1, jitter=0.4)
    before, (found,) = plain(images, index, 2)[0], jittered(images, index, 2)
    numbers = draws(seed_of(0, 1), index, 2, 5)[:, 2:]
    grey = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    for i in range(50):
        bright, contrast, saturation = (1 + 0.4 * (2 * numbers[i] - 1)).tolist()
        x = (before[i] * bright).clamp(0, 1)
        x = (x * contrast + (x * grey).sum(0).mean() * (1 - contrast)).clamp(0, 1)
        x = (x * saturation + (x * grey).sum(0) * (1 - saturation)).clamp(0, 1)
        torch.testing.assert_close(found[i], x, atol=3e-3, rtol=0)  # the mean is of 256 levels
    virtual = (Views(padding=1, virtual=1)(images, index, 2)[1], rand_augment)
    again = rand_augment(before, draws(0, index, 2, 7)[:, 3:])
    assert torch.equal(virtual[0], again)


def test_no_padding_and_no_flip_is_the_image():
    images = torch.rand(4, 1, 6, 6)
    assert torch.equal(Views(padding=0, flip=False)(images, torch.arange(4), 3)[0], images)


def test_the_virtual_view_is_randaugment_of_the_real_one():
    images = torch.randint(256, (64, 3, 16, 16)).byte()
    index = torch.arange(64)
    (alone,) = Views(padding=2)(images, index, 3)
    real, virtual = Views(virtual=1, padding=2)(images, index, 3)
    assert torch.equal(real, alone)
    changed = (real != virtual).flatten(1).any(1)
    assert changed.float().mean() > 0.5
    again = Views(virtual=2, padding=2)(images[5:6], index[5:6], 3)
    assert torch.equal(again[1][0], virtual[5])
    assert not torch.equal(*Views(virtual=2, padding=2)(images, index, 3)[1:])
    _, three = Views(virtual=1, padding=2, operations=3, magnitude=20)(images, index, 3)
    numbers = draws(0, index, 3, 9)[:, 3:]
    assert torch.equal(three, rand_augment(real, numbers, magnitude=20))
