"""Pictures of every mode come out upright, in colour, on white."""

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.data.folder import decode
from asterism.modality import IMAGE


def shown(picture, path, **options):
    picture.save(path, **options)
    return decode(path, (3, 8, 8)).numpy()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_is_white(mode, tmp_path):
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 4, 8))
    # A palette holds black and transparent as two of its colours.
    image = shown(picture.convert("P" if mode == "PA" else mode), tmp_path / "a.png")
    assert image[:, :, :4].max() == 0
    assert image[:, :, 4:].min() == 255


def test_half_transparent_is_mixed_with_white(tmp_path):
    image = shown(Image.new("RGBA", (8, 8), (200, 0, 0, 128)), tmp_path / "a.png")
    expected = np.array([200, 0, 0]) * 128 / 255 + 255 * (1 - 128 / 255)
    assert np.abs(image[:, 0, 0] - expected).max() <= 1


def test_a_transparent_colour_without_an_alpha_channel(tmp_path):
    picture = Image.new("RGB", (8, 8), (10, 20, 30))
    assert shown(picture, tmp_path / "a.png", transparency=(10, 20, 30)).min() == 255
    assert shown(picture, tmp_path / "b.png")[:, 0, 0].tolist() == [10, 20, 30]


def test_modes_without_transparency(tmp_path):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    cmyk = shown(red.convert("CMYK"), tmp_path / "a.jpg", quality=95)[:, 4, 4].astype(int)
    assert np.abs(cmyk - [255, 0, 0]).max() < 8
    assert shown(red.convert("P"), tmp_path / "a.gif")[:, 4, 4].tolist() == [255, 0, 0]
    assert shown(red.convert("1"), tmp_path / "a.png").min() in (0, 255)
    grey = shown(Image.new("L", (8, 8), 77), tmp_path / "b.png")
    assert (grey == 77).all()


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_a_decompression_bomb_is_not_decoded(side, tmp_path):
    Image.new("1", (side, 10_000)).save(tmp_path / "a.png")
    with pytest.raises((Image.DecompressionBombError, Image.DecompressionBombWarning)):
        decode(tmp_path / "a.png", (3, 8, 8))


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (21, 13), (5, 6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_in_memory_are_brought_to_a_size_as_files_are(size, channels, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    images = torch.from_numpy(array).permute(2, 0, 1)[None]
    made = IMAGE.brought(images, (channels, 8, 8))
    assert torch.equal(made[0], decode(tmp_path / "a.png", (channels, 8, 8)))
    floats = IMAGE.brought(images / 255, (channels, 8, 8))
    assert floats.dtype == torch.float32
    assert torch.allclose(255 * floats, made.float(), atol=2)


def test_grey_images_in_memory_are_repeated():
    grey = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    assert torch.equal(IMAGE.brought(grey, (3, 8, 8)), grey.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 13, 16])
def test_grey_of_few_bits_kept_in_16_is_a_picture_where_the_file_says_so(bits, suffix, tmp_path):
    """Of 12 bits it would be bright, of 16 nearly black: without a word neither is taken."""
    most = 2**bits - 1
    ramp = Image.fromarray(np.linspace(0, most, 64).reshape(8, 8).astype("u2"))
    path = tmp_path / f"a.{suffix}"
    if bits > 12:
        assert abs(int(shown(ramp, path).max()) - 255 * most // 65535) <= 1
    else:
        with pytest.raises(ValueError, match=f"16 bits of which {bits} are used.*MaxSampleValue"):
            shown(ramp, path)
    if suffix == "tif":
        assert shown(ramp, path, tiffinfo={281: most}).max() == 255
        assert shown(ramp, path, tiffinfo={281: 65535}).max() == 255 * most // 65535
    assert shown(Image.new("I;16", (8, 8), 9), path).max() == 0


def test_a_range_that_the_format_declares_is_taken(tmp_path):
    values = np.linspace(0, 1023, 64).astype(">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 1023\n" + values)
    assert decode(tmp_path / "a.pgm", (1, 8, 8)).max() == 255
