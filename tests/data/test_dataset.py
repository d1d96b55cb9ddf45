"""Tests for asterism/data/own.py: what a Dataset may give, and what is said of the rest."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from asterism.data import open_source
from asterism.teachers import refuse_unrepeatable

IMAGES = torch.randint(256, (20, 3, 12, 12), generator=torch.Generator().manual_seed(0)).byte()


class Items:
    """A dataset of what a function returns."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        return self.item(i)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (lambda i: IMAGES[i].long(), r"uint8, or as float in \[0, 1\]; its first .*int64"),
        (lambda i: IMAGES[i].permute(1, 2, 0).numpy(), r"\(12, 12, 3\).*looks like \(height, wid"),
        (lambda i: Image.new("RGB", (12, 12)), "got Image. Of a PIL picture .*PILToTensor"),
        (lambda i: {"image": IMAGES[i]}, r"\(image, class number\); got dict"),
    ],
)
def test_what_is_no_image_and_no_text_is_refused(item, message):
    with pytest.raises(ValueError, match=message):
        open_source(Items(item))


def test_images_of_another_size_are_named():
    source = open_source(Items(lambda i: IMAGES[i, :, : 12 - i // 7]))
    with pytest.raises(ValueError, match=r"has \(3, 12, 12\), and number 9 has \(3, 11, 12\)"):
        source.__getitems__([2, 9])


def test_arrays_are_images():
    source = open_source(Items(lambda i: (IMAGES[i].numpy(), i % 2)))
    assert torch.equal(source.__getitems__([4]).views[0], IMAGES[4:5])
    assert source.targets.tolist() == [0, 1] * 10


def test_a_cache_of_images_that_change_by_themselves_is_refused():
    """uint8 pictures, too: the teacher would have seen others than the student sees."""
    draw = np.random.default_rng(0)
    changing = Items(lambda i: IMAGES[i].roll(int(draw.integers(12)), 2))
    with pytest.raises(ValueError, match="views that can be repeated.*without random transforms"):
        refuse_unrepeatable(open_source(changing))
    refuse_unrepeatable(open_source(TensorDataset(IMAGES)))
