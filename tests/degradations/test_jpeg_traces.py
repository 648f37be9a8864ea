"""Quality and grid of a JPEG compression are found in pixels, and not where there was none."""

import doctest

import numpy as np
import pytest
from PIL import Image

from ucdir.degradations import JpegCompression, jpeg_traces
from ucdir.degradations.jpeg_traces import find_jpeg_traces


@pytest.fixture(scope="module")
def scene(test_data):
    with Image.open(test_data / "golden" / "restored_deblurring_large.png") as image:
        return np.asarray(image.convert("RGB"))


def test_examples():
    assert doctest.testmod(jpeg_traces).failed == 0


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("quality", [5, 10, 20, 35, 50, 75, 85])
def test_quality_and_grid_of_a_cropped_jpeg(scene, quality, subsampling):
    degraded = JpegCompression(quality, subsampling)(scene)
    for top, left in ((0, 0), (3, 5), (7, 1)):
        traces = find_jpeg_traces(degraded[top:, left:])
        assert traces is not None
        assert traces.quality == pytest.approx(quality, abs=1)
        assert traces.grid == ((8 - top) % 8, (8 - left) % 8)


def test_grey(scene):
    degraded = JpegCompression(15, "4:0:0")(scene)[..., :1]
    traces = find_jpeg_traces(degraded)
    assert traces is not None
    assert traces.quality == 15


@pytest.mark.parametrize("second", [85, 90, 95])
def test_of_two_compressions_the_stronger(scene, second):
    twice = JpegCompression(second)(JpegCompression(20)(scene)[3:, 5:])
    traces = find_jpeg_traces(twice)
    assert traces is not None
    assert traces.quality == pytest.approx(20, abs=1)
    assert traces.grid == (5, 3)


def test_of_a_large_image_the_middle_is_enough(scene):
    large = JpegCompression(30)(np.tile(scene, (13, 10, 1)))[2:, 6:]
    assert min(large.shape[:2]) > jpeg_traces.REGION
    traces = find_jpeg_traces(large)
    assert traces is not None
    assert traces.quality == pytest.approx(30, abs=1)
    assert traces.grid == (6, 2)


def test_nothing_is_found_where_there_was_no_compression_or_it_cannot_be_seen(scene):
    assert find_jpeg_traces(scene) is None
    degraded = Image.fromarray(JpegCompression(30)(scene))
    resized = degraded.resize((251, 197), Image.Resampling.BICUBIC)
    for image in (np.asarray(resized), scene[:20, :20], np.zeros((1, 1, 3), np.uint8)):
        assert find_jpeg_traces(image) is None
    white = np.full((64, 64, 3), 255, np.uint8)
    assert find_jpeg_traces(JpegCompression(10)(white)) is None


@pytest.mark.parametrize("quality", [None, 40, 75])
def test_patterns_are_not_taken_for_a_compression(quality, monkeypatch):
    y, x = np.mgrid[:128, :192]
    waves = (128 + 60 * np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], 2)).astype(np.uint8)
    pattern = waves if quality is None else JpegCompression(quality)(waves)
    assert find_jpeg_traces(pattern) is None
    monkeypatch.setattr(jpeg_traces, "CONTROLS", ())
    assert find_jpeg_traces(pattern) is not None, "control"


def test_steps_of_other_tables_give_the_nearest_quality(scene, tmp_path):
    tables = [np.full(64, step).tolist() for step in (24, 24)]
    Image.fromarray(scene).save(tmp_path / "flat.jpg", qtables=tables, subsampling=0)
    traces = find_jpeg_traces(np.asarray(Image.open(tmp_path / "flat.jpg")))
    assert traces is not None
    assert 15 <= traces.quality <= 50
