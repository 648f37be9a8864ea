"""Parts of a photograph are converted to the bit as the whole is."""

import numpy as np
import pytest

from ucdir.images import Photo
from ucdir.images.colour import ADOBE_RGB
from ucdir.images.parts import PhotoParts
from ucdir.images.photo import Metadata
from ucdir.images.srgb import from_srgb_signal, to_srgb_signal

PARTS = [(slice(0, 300), slice(0, 290)), (slice(0, 60), slice(250, 290)), (slice(37, 299), slice(3, 270))]


def photo_of(channels=3, dtype=np.uint8, alpha=None, icc=None, height=300, width=290):
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)
    pixels[40:80, 20:90] = 0
    pixels[200:, 200:] = np.iinfo(dtype).max
    return Photo(pixels, alpha, metadata=Metadata(icc=icc))


def hole(dtype=np.uint8, height=300, width=290):
    """Visible at the left and in one pixel of the right."""
    alpha = np.zeros((height, width), dtype)
    alpha[:, :20] = np.random.default_rng(5).integers(0, 3, (height, 20))
    alpha[280, 280] = 255
    return alpha


PHOTOS = {
    "rgb": photo_of(),
    "grey": photo_of(1),
    "16 bits": photo_of(dtype=np.uint16),
    "Adobe RGB": photo_of(icc=ADOBE_RGB.profile(3)),
    "grey, 16 bits, with a profile": photo_of(1, np.uint16, icc=ADOBE_RGB.profile(1)),
    "transparent": photo_of(alpha=hole()),
    "transparent, 16 bits, Adobe RGB": photo_of(
        dtype=np.uint16, alpha=hole(np.uint16), icc=ADOBE_RGB.profile(3)
    ),
    "wholly transparent": photo_of(alpha=np.zeros((300, 290), np.uint8)),
    "wholly visible": photo_of(alpha=np.full((300, 290), 9, np.uint8)),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_parts_are_to_the_bit_those_of_the_whole(name):
    photo = PHOTOS[name]
    parts, whole = PhotoParts(photo), to_srgb_signal(photo)
    restored = np.random.default_rng(6).random(whole.shape, dtype=np.float32) * 2 - 1
    back = from_srgb_signal(restored, photo)
    for rows, columns in PARTS:
        assert np.array_equal(parts.signal(rows, columns), whole[..., rows, columns])
        found = parts.pixels(np.ascontiguousarray(restored[..., rows, columns]), rows, columns)
        assert np.array_equal(found, back[rows, columns])


def test_control_what_lies_around_a_part_matters():
    """The parts above would differ if nothing around them was looked at."""
    photo, (rows, columns) = PHOTOS["transparent"], (slice(60, 100), slice(80, 140))
    alone = Photo(photo.pixels[rows, columns], photo.alpha[rows, columns])
    assert not np.array_equal(to_srgb_signal(alone), to_srgb_signal(photo)[..., rows, columns])
    photo, (rows, columns) = PHOTOS["rgb"], (slice(70, 80), slice(30, 60))
    signal = np.zeros((1, 3, 300, 290), np.float32)
    alone = from_srgb_signal(signal[..., rows, columns], Photo(photo.pixels[rows, columns].copy()))
    assert not np.array_equal(alone, from_srgb_signal(signal, photo)[rows, columns])
