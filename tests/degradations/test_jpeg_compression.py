"""JPEG compression is decoded as Pillow does, follows its formula, and is drawn as documented."""

import doctest
import importlib
import io
from typing import get_args

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from pydantic import ValidationError

from ucdir.degradations import JpegCompression, JpegCompressionGenerator, Subsampling
from ucdir.errors import ConfigError, DataError, UcdirError

SUBSAMPLINGS = get_args(Subsampling)
SIZES = [(64, 64), (63, 45), (17, 16), (8, 8), (3, 5), (2, 3), (1, 1), (1, 40), (40, 1), (2, 2), (96, 33)]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colour, an edge and some noise: every frequency and the clipping at 0 and 255 are met."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(y / (3 + c)) + np.cos(x / (5 - c)) + (x > width / 2) for c in range(3)]
    noisy = np.stack(waves, axis=-1) * 90 + 90 + rng.normal(0, 20, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def by_pillow(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_that_pillow_decodes(size, subsampling):
    clean = picture(*size)
    for quality in (1, 5, 10, 25, 49, 50, 51, 75, 95, 96, 100):
        compression = JpegCompression(quality, subsampling)
        expected = by_pillow(compression.encode(clean))
        np.testing.assert_array_equal(compression(clean), expected, err_msg=f"quality {quality}")


def test_control_the_fast_codec_paths_differ_from_pillow():
    clean = picture(64, 64)
    file = JpegCompression(75)(clean), JpegCompression(75).encode(clean)
    theirs = by_pillow(file[1])
    fast_decode = simplejpeg.decode_jpeg(file[1], fastdct=True, fastupsample=True)
    swapped = JpegCompression(75)(clean[..., ::-1])[..., ::-1]
    assert np.array_equal(file[0], theirs)
    assert not np.array_equal(fast_decode, theirs)
    assert not np.array_equal(swapped, theirs), "BGR given as RGB must show"


@pytest.mark.parametrize("quality", [1, 2, 9, 10, 33, 49, 50, 51, 75, 99, 100])
def test_quantization_tables_are_those_in_the_file(quality):
    compression = JpegCompression(quality)
    tables = Image.open(io.BytesIO(compression.encode(picture(16, 16)))).quantization
    np.testing.assert_array_equal(compression.quantization_tables().reshape(2, 64), [tables[0], tables[1]])


def formula(clean: np.ndarray, quality: int) -> np.ndarray:
    """The docstring's steps 1, 3 and 4 by hand for 4:4:4; [H,W,3] with sides that are multiples of 8."""
    r, g, b = np.moveaxis(clean.astype(float), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    planes = np.round([y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128])
    k, n = np.mgrid[:8, :8]
    dct = np.cos((2 * n + 1) * k * np.pi / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    luminance, chrominance = JpegCompression(quality).quantization_tables()
    height, width = y.shape
    for plane, table in zip(planes, (luminance, chrominance, chrominance), strict=True):
        for top in range(0, height, 8):
            for left in range(0, width, 8):
                block = plane[top : top + 8, left : left + 8]
                levels = np.round(dct @ (block - 128) @ dct.T / table)
                block[:] = np.clip(np.round(dct.T @ (levels * table) @ dct + 128), 0, 255)
    y, cb, cr = planes[0], planes[1] - 128, planes[2] - 128
    red, blue = y + 1.402 * cr, y + 1.772 * cb
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return np.clip(np.round(np.stack([red, green, blue], -1)), 0, 255)


@pytest.mark.parametrize("quality", [10, 40, 90])
def test_the_docstring_formula_is_what_happens(quality):
    clean = picture(64, 48)
    compressed = JpegCompression(quality, "4:4:4")(clean).astype(float)
    difference = np.abs(formula(clean, quality) - compressed)
    # libjpeg's integers move a coefficient near a rounding tie now and then, by one step of its table.
    assert np.mean(difference) < 1.0
    assert np.mean(difference <= 2) > 0.85
    other = np.abs(formula(clean, quality + 5) - compressed)
    assert np.mean(other) > 1.5 * np.mean(difference), "control: another quality must show"


def test_only_4_2_0_loses_colour_detail():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 130, 0)  # the same luminance as the red
    error = {s: np.abs(JpegCompression(95, s)(stripes).astype(int) - stripes).mean() for s in SUBSAMPLINGS}
    assert error["4:4:4"] < 5
    assert error["4:2:0"] > 40


def test_lower_quality_is_smaller_and_worse():
    clean = picture(128, 128)
    ladder = [JpegCompression(q) for q in (5, 20, 50, 90)]
    sizes = [len(rung.encode(clean)) for rung in ladder]
    errors = [np.square(rung(clean).astype(float) - clean).mean() for rung in ladder]
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_input_is_left_alone_and_may_be_a_view():
    whole = picture(80, 80)
    before = whole.copy()
    crop = whole[5:69, 7:71][:, ::-1]
    degraded = JpegCompression(20)(crop)
    np.testing.assert_array_equal(degraded, JpegCompression(20)(crop.copy()))
    np.testing.assert_array_equal(whole, before)
    degraded[:] = 0  # a new, writable array
    whole.flags.writeable = False
    assert JpegCompression(20)(whole).shape == (80, 80, 3)


@pytest.mark.parametrize("quality", [0, 101, -5, 10.0, "10", True, None, np.float64(10)])
def test_quality_out_of_range(quality):
    with pytest.raises(ConfigError, match="whole number from 1 to 100"):
        JpegCompression(quality)


@pytest.mark.parametrize("subsampling", ["420", "4:1:0", "", None])
def test_unknown_subsampling(subsampling):
    with pytest.raises(ConfigError, match="choose one of 4:2:0, 4:4:4, 4:2:2"):
        JpegCompression(10, subsampling)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((1, 65_501, 3), np.uint8),
        [[[1, 2, 3]]],
    ],
)
def test_an_image_that_does_not_fit_is_named(image):
    with pytest.raises(DataError, match="found"):
        JpegCompression(10)(image)


def test_the_longest_side():
    assert JpegCompression(10)(np.zeros((1, 65_500, 3), np.uint8)).shape == (1, 65_500, 3)


def test_draws_are_deterministic_and_take_three_numbers():
    generator = JpegCompressionGenerator()
    first, second, other = (np.random.default_rng(seed) for seed in (3, 3, 4))
    drawn = [generator.draw(first) for _ in range(50)]
    assert drawn == [generator.draw(second) for _ in range(50)]
    assert drawn != [generator.draw(other) for _ in range(50)]
    skipped = np.random.default_rng(3)
    skipped.random(150)
    assert skipped.random() == first.random()
    assert [d.quality for d in drawn[:4]] == [15, 9, 12, 22]


def test_distribution_of_draws():
    rng = np.random.default_rng(0)
    drawn = [JpegCompressionGenerator().draw(rng) for _ in range(20_000)]
    qualities = np.array([d.quality for d in drawn])
    counts = np.bincount(qualities, minlength=101)
    assert (qualities.min(), qualities.max()) == (5, 95)
    assert all(type(d.quality) is int for d in drawn)
    assert np.all(counts[5:96] > 0)
    # 0.8 in focus and 0.2 over all: 0.8 + 0.2 * 46/91 of the draws are 5..50
    assert np.mean(qualities <= 50) == pytest.approx(0.8 + 0.2 * 46 / 91, abs=0.01)
    assert counts[51:96].mean() == pytest.approx(20_000 * 0.2 / 91, rel=0.06)
    assert np.mean([d.subsampling == "4:2:0" for d in drawn]) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_focus_probability_at_its_ends(probability):
    rng = np.random.default_rng(1)
    generator = JpegCompressionGenerator(
        focus=(20, 30), focus_probability=probability, subsamplings=("4:4:4",)
    )
    drawn = [generator.draw(rng) for _ in range(500)]
    inside = np.mean([20 <= d.quality <= 30 for d in drawn])
    assert {d.subsampling for d in drawn} == {"4:4:4"}
    assert bool(inside == 1.0) is (probability == 1.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"qualities": (0, 95)},
        {"qualities": (5, 101)},
        {"qualities": (95, 5)},
        {"qualities": (5,)},
        {"focus": (4, 50)},
        {"focus": (50, 96)},
        {"focus": (50, 5)},
        {"focus_probability": 1.5},
        {"focus_probability": -0.1},
        {"focus_probability": float("nan")},
        {"subsamplings": ()},
        {"subsamplings": ("4:1:0",)},
    ],
)
def test_generator_settings_out_of_range(settings):
    with pytest.raises(ValidationError, match=next(iter(settings)).removesuffix("s")):
        JpegCompressionGenerator(**settings)


def test_frozen():
    with pytest.raises(AttributeError):
        JpegCompression(10).quality = 20  # type: ignore[misc]
    assert issubclass(ConfigError, UcdirError)
    assert JpegCompression(10) == JpegCompression(10, "4:2:0")


def test_docstring_examples():
    module = importlib.import_module("ucdir.degradations.jpeg_compression")
    result = doctest.testmod(module)
    assert result.attempted >= 4
    assert result.failed == 0
