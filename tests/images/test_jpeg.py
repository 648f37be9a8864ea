"""The quality of a JPEG file follows from its tables alone."""

import io

import numpy as np
import pytest
from PIL import Image

from ucdir.degradations.jpeg_compression import JpegCompression
from ucdir.images.jpeg import JpegHeader, estimate_quality, ijg_tables, jpeg_header

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def jpeg(**settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", **settings)
    return file.getvalue()


def test_every_quality_that_pillow_writes_is_found():
    assert [estimate_quality(jpeg_header(jpeg(quality=quality))) for quality in range(1, 101)] == [
        *range(1, 101)
    ]


@pytest.mark.parametrize("settings", [{"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_the_way_of_coding_does_not_matter(settings):
    assert estimate_quality(jpeg_header(jpeg(quality=37, **settings))) == 37


def test_grey_files_have_one_table():
    file = io.BytesIO()
    Image.fromarray(PIXELS[:, :, 0]).save(file, "JPEG", quality=63)
    header = jpeg_header(file.getvalue())
    assert header.components == (0,)
    assert estimate_quality(header) == 63


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 100])
def test_tables_equal_those_of_the_degradation(quality):
    expected = JpegCompression(quality=quality).quantization_tables().reshape(2, 64)
    np.testing.assert_array_equal(ijg_tables(quality), expected)


def test_header_holds_size_and_tables_in_rows_of_vertical_frequency():
    header = jpeg_header(jpeg(quality=20))
    assert (header.precision, header.width, header.height, header.components) == (8, 40, 24, (0, 1, 1))
    np.testing.assert_array_equal(header.tables[0], ijg_tables(20)[0])
    np.testing.assert_array_equal(header.tables[1], ijg_tables(20)[1])


@pytest.mark.parametrize("quality", [15, 40, 70, 90])
def test_tables_that_are_near_a_quality_get_it(quality):
    rng = np.random.default_rng(quality)
    tables = np.rint(ijg_tables(quality) * rng.uniform(0.9, 1.1, (2, 64))).astype(int)
    assert abs(estimate_quality(JpegHeader(8, 8, 8, (0, 1, 1), dict(enumerate(tables)))) - quality) <= 3


def test_flat_tables_of_other_programs_are_ordered_by_strength():
    strengths = [2, 8, 24, 80]
    found = [estimate_quality(JpegHeader(8, 8, 8, (0,), {0: np.full(64, level)})) for level in strengths]
    assert found == sorted(found, reverse=True)
    assert found[0] > 90
    assert found[-1] < 40


def test_one_table_for_all_components_is_measured_as_luminance():
    header = JpegHeader(8, 8, 8, (0, 0, 0), {0: ijg_tables(55)[0]})
    assert estimate_quality(header) == 55


def test_custom_tables_written_by_pillow_are_read():
    table = [*range(1, 65)]
    header = jpeg_header(jpeg(qtables=[table, table]))
    assert sorted(header.tables[0]) == table
    assert 1 <= estimate_quality(header) <= 100


def test_sixteen_bit_tables_are_read():
    body = b"\x10" + np.arange(300, 364).astype(">u2").tobytes()
    data = b"\xff\xd8\xff\xdb" + (len(body) + 2).to_bytes(2, "big") + body + b"\xff\xd9  "
    assert jpeg_header(data).tables[0].max() == 363
    assert estimate_quality(jpeg_header(data)) == 1


def test_without_tables_there_is_no_quality():
    assert estimate_quality(jpeg_header(b"\xff\xd8\xff\xd9")) is None


def test_no_bytes_break_it():
    data = jpeg(quality=30)[:700]
    rng = np.random.default_rng(1)
    for _ in range(500):
        broken = bytearray(data[: rng.integers(1, 700)])
        for place in rng.integers(0, len(broken), 8):
            broken[place] = rng.integers(0, 256)
        quality = estimate_quality(jpeg_header(bytes(broken)))
        assert quality is None or 1 <= quality <= 100
