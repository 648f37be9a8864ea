"""Quality and grid of a JPEG compression are found in pixels, and not where there was none."""

import numpy as np
import pytest
from PIL import Image

from ucdir.degradations import JpegCompression
from ucdir.images import Photo
from ucdir.inspection import inspect


@pytest.fixture(scope="module")
def scene(test_data):
    with Image.open(test_data / "golden" / "restored_deblurring_large.png") as image:
        return np.asarray(image.convert("RGB"))


def jpeg_of(pixels):
    return inspect(Photo(np.ascontiguousarray(pixels))).jpeg


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("quality", [5, 10, 20, 35, 50, 75, 85])
def test_quality_and_grid_of_a_cropped_jpeg(scene, quality, subsampling):
    degraded = JpegCompression(quality, subsampling)(scene)
    for top, left in ((0, 0), (3, 5), (7, 1)):
        found = jpeg_of(degraded[top:, left:])
        assert found.quality == pytest.approx(quality, abs=1)
        assert found.grid == ((8 - top) % 8, (8 - left) % 8)
        assert found.compressions == 1


def test_grey(scene):
    assert jpeg_of(JpegCompression(15, "4:0:0")(scene)[..., :1]).quality == 15


@pytest.mark.parametrize("second", [90, 95])
def test_of_two_compressions_the_stronger(scene, second):
    twice = JpegCompression(second)(JpegCompression(20)(scene)[3:, 5:])
    found = jpeg_of(twice)
    assert found.quality == pytest.approx(20, abs=1)
    assert found.grid == (5, 3)
    own = inspect(Photo(twice, jpeg_quality=second, format="JPEG")).jpeg
    assert (own.tables, own.quality, own.compressions) == (second, found.quality, 2)


def test_the_tables_of_a_file_count_where_its_pixels_show_nothing_lower(scene):
    found = inspect(Photo(JpegCompression(40)(scene), jpeg_quality=40, format="JPEG")).jpeg
    assert (found.tables, found.quality, found.compressions, found.confidence) == (40, 40, 1, 1.0)
    tiny = inspect(Photo(scene[:16, :16].copy(), jpeg_quality=40, format="JPEG"))
    assert (tiny.verdict, tiny.jpeg.quality) == ("jpeg", 40)


def test_nothing_is_found_where_there_was_no_compression_or_it_cannot_be_seen(scene):
    assert jpeg_of(scene).quality is None
    for image in (scene[:20, :20], np.zeros((1, 1, 3), np.uint8)):
        assert jpeg_of(image).quality is None
    white = np.full((64, 64, 3), 255, np.uint8)
    assert jpeg_of(JpegCompression(10)(white)).quality is None


def test_patterns_are_not_taken_for_a_compression():
    y, x = np.mgrid[:128, :192]
    waves = (128 + 60 * np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], 2)).astype(np.uint8)
    assert jpeg_of(waves).quality is None
    assert jpeg_of(JpegCompression(20)(waves)).quality is not None, "control"


def test_steps_of_other_tables_give_the_nearest_quality(scene, tmp_path):
    tables = [np.full(64, step).tolist() for step in (24, 24)]
    Image.fromarray(scene).save(tmp_path / "flat.jpg", qtables=tables, subsampling=0)
    assert 15 <= jpeg_of(np.asarray(Image.open(tmp_path / "flat.jpg"))).quality <= 50
