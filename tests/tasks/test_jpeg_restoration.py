"""The degradation of JPEG restoration: a JPEG file, quality given or not, blocks in place or shifted."""

import math

import numpy as np
import pytest

from ucdir.degradations import JpegCompression, JpegCompressionGenerator, JpegHistory
from ucdir.images import Photo
from ucdir.tasks import JpegRestoration


def task(**jpeg):
    return JpegRestoration(JpegCompressionGenerator(**jpeg))


def picture(seed=0, side=64):
    """Smooth and noisy at once, so that blocks of strong compression differ from each other everywhere."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    waves = np.stack([np.sin(x / (5 + c)) + np.cos(y / (7 - c)) for c in range(3)], axis=-1)
    return np.clip(waves * 50 + 128 + rng.normal(0, 12, waves.shape), 0, 255).astype(np.uint8)


def grid_phase(image):
    """Where 8x8 blocks begin, (row, column) in 0..7: the pixel borders with the largest mean jump."""
    grey = image.astype(float).mean(axis=2)
    down, across = np.abs(np.diff(grey, axis=0)).mean(axis=1), np.abs(np.diff(grey, axis=1)).mean(axis=0)
    jumps = [[border[(phase - 1) % 8 :: 8].mean() for phase in range(8)] for border in (down, across)]
    return tuple(int(np.argmax(j)) for j in jumps)


def draws(made, count=300, side=64):
    return [made.degrade(picture(n, side), np.random.default_rng(n)) for n in range(count)]


def test_unshifted_is_the_jpeg_file_of_the_quality_given():
    made = task(unknown_probability=0.0, shift_probability=0.0)
    for n in range(20):
        _, degraded, scalars = made.degrade(picture(n), np.random.default_rng(n))
        quality = int(scalars["jpeg_quality"])
        files = [JpegCompression(quality, s)(picture(n)) for s in ("4:2:0", "4:4:4")]
        assert any(np.array_equal(degraded, file) for file in files)
        assert scalars.keys() == {"jpeg_quality"}


def test_a_function_of_the_generator():
    made = task(unknown_probability=0.3, shift_probability=0.5)
    clean = picture()
    before = clean.copy()
    first = [made.degrade(clean, np.random.default_rng(n)) for n in range(20)]
    again = [made.degrade(clean, np.random.default_rng(n)) for n in range(20)]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.clean, clean)
        np.testing.assert_array_equal(a.degraded, b.degraded)
        np.testing.assert_equal(dict(a.scalars), dict(b.scalars))
    np.testing.assert_array_equal(clean, before)
    assert len({a.degraded.tobytes() for a in first}) == 20


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_share_of_the_crops_whose_quality_is_not_given(probability):
    given = [
        scalars["jpeg_quality"] for _, _, scalars in draws(task(unknown_probability=probability), 800, side=8)
    ]
    assert np.mean(np.isnan(given)) == pytest.approx(probability, abs=0.05)
    assert all(5 <= quality <= 95 for quality in given if not math.isnan(quality))


def test_blocks_begin_at_the_corner_unless_shifted():
    strong = {"qualities": (5, 10), "focus": (5, 10)}
    plain = [grid_phase(image) for _, image, _ in draws(task(**strong, shift_probability=0.0), 40)]
    assert set(plain) == {(0, 0)}
    shifted = [grid_phase(image) for _, image, _ in draws(task(**strong, shift_probability=1.0), 150)]
    assert np.mean([0 in phase for phase in shifted]) < 0.03
    assert {row for row, _ in shifted} >= set(range(1, 8))
    assert {column for _, column in shifted} >= set(range(1, 8))


def test_share_of_shifted_crops():
    strong = {"qualities": (5, 10), "focus": (5, 10)}
    phases = [grid_phase(image) for _, image, _ in draws(task(**strong, shift_probability=0.3), 300)]
    assert np.mean([phase != (0, 0) for phase in phases]) == pytest.approx(0.3, abs=0.07)


@pytest.mark.parametrize("side", [8, 16, 17, 33])
def test_size_and_content_are_kept(side):
    for _, image, _ in draws(task(qualities=(95, 95), focus=(95, 95), shift_probability=1.0), 10, side):
        assert image.shape == (side, side, 3)
        assert image.dtype == np.uint8
    made = task(qualities=(95, 95), focus=(95, 95), shift_probability=1.0)
    errors = [
        np.abs(made.degrade(picture(n), np.random.default_rng(n)).degraded.astype(int) - picture(n)).mean()
        for n in range(20)
    ]
    assert max(errors) < 12, "a shifted crop shows the same place"


def test_what_a_photograph_tells():
    pixels = np.zeros((8, 8, 3), np.uint8)
    assert JpegRestoration.known_scalars(Photo(pixels, jpeg_quality=10)) == {"jpeg_quality": 10.0}
    assert JpegRestoration.known_scalars(Photo(pixels)) == {}


REAL = {"unknown_probability": 0.0, "shift_probability": 0.0}


def test_compressed_twice():
    made = task(**REAL, twice_probability=1.0)
    for n in range(30):
        clean, degraded, scalars = made.degrade(picture(n), np.random.default_rng(n))
        np.testing.assert_array_equal(clean, picture(n))
        quality = int(scalars["jpeg_quality"])
        once = [JpegCompression(quality, s)(picture(n)) for s in ("4:2:0", "4:4:4")]
        assert not any(np.array_equal(degraded, image) for image in once)
        error = np.square(degraded.astype(float) - clean).mean()
        assert error > 0.8 * min(np.square(image.astype(float) - clean).mean() for image in once)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_resized_crops_are_of_one_size_and_match_their_clean_image(shift):
    made = task(
        unknown_probability=0.0,
        shift_probability=shift,
        resize_probability=1.0,
        focus=(40, 60),
        focus_probability=1.0,
    )
    side = 48
    wide = made.smallest_photo(side)
    assert wide == side + 2 * made.margin(side)
    sizes = set()
    for n in range(60):
        clean, degraded, scalars = made.degrade(picture(n, wide), np.random.default_rng(n))
        assert clean.shape == degraded.shape
        assert min(clean.shape[:2]) >= side, "a crop is left"
        sizes.add(clean.shape)
        assert 40 <= scalars["jpeg_quality"] <= 60
        blurred = np.abs(degraded.astype(float) - clean).mean()
        moved = np.abs(degraded.astype(float) - np.roll(clean, 4, axis=1)).mean()
        assert blurred < moved, "both show the same place"
    assert len(sizes) > 10
    assert (wide, wide, 3) in sizes, "what is enlarged keeps its size"


def test_what_is_enlarged_is_not_expected_to_be_sharp():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    clean, _ = JpegHistory((JpegCompression(95), JpegCompression(95)), scale=1.5)(noise)
    assert clean.shape == noise.shape
    assert clean.std() < 0.7 * noise.std()


def test_a_greyscale_file_has_a_grey_truth():
    made = task(**REAL, subsamplings=("4:0:0",))
    clean, degraded, _ = made.degrade(picture(), np.random.default_rng(0))
    for image in (clean, degraded):
        assert (image == image[..., :1]).all()
    assert np.abs(clean.astype(float).mean() - picture().mean()) < 10


def test_only_resizing_needs_a_margin():
    assert task(twice_probability=0.5).margin(128) == 0
    assert task(resize_probability=0.1).margin(128) == 64
