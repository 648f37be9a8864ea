"""Alpha: colours under transparency do not bleed into what is seen, they stay; and no file gets an alpha it lacks."""

import io

import numpy as np
import pytest
from PIL import Image
from tiny_tiff import shorts, tiny_tiff

from ucdir.images import Photo, read, write
from ucdir.images.srgb import filled, from_srgb_signal, to_srgb_signal
from ucdir.workflows.restore import restore

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(60, 90, (24, 32, 3), dtype=np.uint8)


def half_hidden(hidden_colour, opacity=0):
    """A picture whose right half is (fully) transparent and holds a colour there."""
    pixels = PICTURE.copy()
    pixels[:, 16:] = hidden_colour
    alpha = np.full((24, 32), 255, np.uint8)
    alpha[:, 16:] = opacity
    return Photo(pixels, alpha)


@pytest.mark.parametrize("opacity", [0, 1])
def test_hidden_colours_do_not_bleed_in_and_stay(random_pipeline, tmp_path, opacity):
    pipeline, results = random_pipeline(), []
    for name, colour in (("a.png", (255, 0, 255)), ("b.png", (0, 255, 0))):
        write(half_hidden(colour, opacity), tmp_path / name)
        restore(tmp_path / name, tmp_path / f"out-{name}", pipeline=pipeline)
        results.append(read(tmp_path / f"out-{name}"))
    a, b = results
    assert not np.array_equal(a.pixels[:, :16], PICTURE[:, :16])
    same = np.array_equal(a.pixels[:, :16], b.pixels[:, :16])
    if opacity == 0:
        assert same
        assert (a.pixels[:, 16:] == (255, 0, 255)).all()
        assert (b.pixels[:, 16:] == (0, 255, 0)).all()
    else:
        assert not same, "control: what is seen, however little, is seen by the networks too"
    assert (a.alpha[:, 16:] == opacity).all()
    assert (a.alpha[:, :16] == 255).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (64, 37)])
def test_filling(dtype, size):
    known = RNG.random(size) < 0.3
    known[0, 0] = True
    known[:, size[1] // 2 :] = size[1] == 1
    pixels = RNG.integers(0, np.iinfo(dtype).max, (*size, 3), dtype=dtype)
    result = filled(pixels, known)
    assert np.array_equal(result[known], pixels[known])
    low, high = pixels[known].min(axis=0), pixels[known].max(axis=0)
    assert ((result >= np.maximum(low, 1) - 1) & (result <= high)).all(), "means of what is known"
    pixels[known] = 77
    assert (filled(pixels, known) == 77).all()


def test_nothing_seen_or_nothing_hidden():
    pixels = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    for alpha in (np.zeros((6, 7), np.uint8), np.full((6, 7), 255, np.uint8)):
        photo = Photo(pixels, alpha)
        signal = to_srgb_signal(photo)
        np.testing.assert_allclose(signal[0].transpose(1, 2, 0), pixels / 127.5 - 1, atol=1e-6)
        assert np.array_equal(from_srgb_signal(np.zeros_like(signal), photo), pixels) == (not alpha.any())


def ycbcr_tiff():
    """Chroma at half size, without compression: four luminances, Cb, Cr for each 2x2 pixels."""
    blocks = np.full((4, 6, 6), 128, np.uint8)
    blocks[..., :4] = 90
    return tiny_tiff(12, 8, 6, (8, 8, 8), blocks.tobytes(), {530: shorts(2, 2)})


def palette_tiff(kind):
    samples = np.zeros((4, 6, 2), np.uint8)
    samples[..., 0] = np.arange(24).reshape(4, 6)
    samples[..., 1] = 10 * samples[..., 0]
    palette = RNG.integers(0, 256, (3, 256)).astype("<u2") * 257
    more = {320: (3, 768, palette.tobytes()), 338: shorts(kind)}
    return (
        tiny_tiff(6, 4, 3, (8, 8), samples.tobytes(), more),
        (palette // 257).T[:24].reshape(4, 6, 3),
        samples[..., 1],
    )


def test_a_subsampled_tiff_gets_no_alpha():
    photo = read(ycbcr_tiff())
    assert photo.alpha is None
    assert photo.pixels.shape == (8, 12, 3)
    assert np.abs(photo.pixels.astype(int) - 90).max() <= 1


def test_a_palette_with_alpha_is_read():
    data, colours, alpha = palette_tiff(2)
    photo = read(data)
    np.testing.assert_array_equal(photo.pixels, colours)
    np.testing.assert_array_equal(photo.alpha, alpha)


def gif(transparency):
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 4, "L").convert("P")
    file = io.BytesIO()
    image.save(file, "GIF", transparency=transparency)
    return file.getvalue()


def test_a_transparent_colour_that_no_pixel_has_is_no_alpha():
    assert read(gif(2)).alpha is not None, "control"
    assert read(gif(200)).alpha is None


def test_a_gif_whose_first_frame_is_whole_is_read():
    data = gif(200)
    photo = read(data[:-1] + b"GIF89a and more")
    np.testing.assert_array_equal(photo.pixels, read(data).pixels)
    assert photo.warnings == (
        "the image: its part after the first frame, which could not be read, is left out.",
    )
