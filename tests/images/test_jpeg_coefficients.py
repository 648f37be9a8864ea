"""The coefficients of a JPEG file are those that its pixels come from, however they are coded."""

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from scipy.fft import idctn

from ucdir.errors import ImageError
from ucdir.images import read
from ucdir.images.decode import DecodeError
from ucdir.images.jpeg import ijg_tables
from ucdir.images.jpeg_coefficients import jpeg_coefficients

RNG = np.random.default_rng(0)
Y, X = np.mgrid[:45, :59]
PIXELS = np.clip(
    np.stack([np.sin(Y / 5 + c) + np.cos(X / (3 + c)) for c in range(3)], -1) * 90
    + RNG.normal(128, 25, (45, 59, 3)), 0, 255,
).astype(np.uint8)  # fmt: skip
"""Smooth colour with noise, partly beyond black and white; no multiple of 16 in size."""


def jpeg(pixels=PIXELS, **settings):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **settings)
    return file.getvalue()


def samples(plane):
    """Rounded samples of a plane, as a decoder computes them: its own inverse DCT is not used."""
    blocks = idctn(plane.levels * plane.table.astype(float), axes=(2, 3), norm="ortho") + 128
    rows, columns = blocks.shape[:2]
    return np.clip(blocks.swapaxes(1, 2).reshape(8 * rows, 8 * columns), 0, 255)


def segments(data):
    """Markers and whole segments of a file of one scan, whose data belong to its header."""
    at = 2
    while data[at + 1] != 0xD9:
        end = len(data) - 2 if data[at + 1] == 0xDA else at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], data[at:end]
        at = end


CODINGS = [
    {},
    {"optimize": True},
    {"progressive": True},
    {"restart_marker_blocks": 1},
    {"restart_marker_blocks": 3, "progressive": True},
]


@pytest.mark.parametrize("quality", [3, 30, 85, 100])
@pytest.mark.parametrize("coding", CODINGS)
def test_samples_are_those_that_libjpeg_decodes(quality, coding):
    data = jpeg(quality=quality, subsampling="4:4:4", **coding)
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", image.size)
    expected, found = np.asarray(image), jpeg_coefficients(data)
    assert (found.height, found.width, len(found.planes)) == (45, 59, 3)
    for channel, plane in enumerate(found.planes):
        assert plane.factors == (1, 1)
        assert (
            np.abs(samples(plane)[:45, :59] - expected[..., channel]).max() < 0.7
        )  # rounded by an integer DCT


@pytest.mark.parametrize("coding", CODINGS)
def test_samples_of_halved_colour(coding):
    data = jpeg(quality=60, subsampling="4:2:0", **coding)
    found = jpeg_coefficients(data)
    assert [plane.factors for plane in found.planes] == [(1, 1), (2, 2), (2, 2)]
    assert [plane.levels.shape[:2] for plane in found.planes] == [(6, 8), (3, 4), (3, 4)]
    luminance = simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]
    assert np.abs(samples(found.planes[0])[:45, :59] - luminance).max() < 0.7
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", (29, 22))  # at half the size libjpeg leaves halved colour as it is
    halved = np.asarray(image)
    for channel in (1, 2):
        assert np.abs(samples(found.planes[channel])[:23, :30] - halved[..., channel]).max() < 0.7


@pytest.mark.parametrize(
    ("subsampling", "factors"),
    [("444", (1, 1)), ("422", (1, 2)), ("420", (2, 2)), ("440", (2, 1)), ("411", (1, 4))],
)
def test_every_subsampling(subsampling, factors):
    whole = np.pad(PIXELS, ((0, 3), (0, 5), (0, 0)), mode="edge")  # nothing of a block lies outside
    data = simplejpeg.encode_jpeg(whole, quality=40, colorsubsampling=subsampling)
    found = jpeg_coefficients(data)
    assert [plane.factors for plane in found.planes] == [(1, 1), factors, factors]
    expected = simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]
    assert np.abs(samples(found.planes[0]) - expected).max() < 0.7
    means = [samples(plane).mean() for plane in found.planes[1:]]
    expected = np.asarray(Image.fromarray(whole).convert("YCbCr"), float)[..., 1:].mean(axis=(0, 1))
    np.testing.assert_allclose(means, expected, atol=1)


def test_tables_are_in_rows_of_vertical_frequency():
    planes = jpeg_coefficients(jpeg(quality=20)).planes
    for plane, table in zip(planes, ijg_tables(20)[[0, 1, 1]], strict=True):
        np.testing.assert_array_equal(plane.table, table.reshape(8, 8))
    stripes = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 8, (16, 16)).copy()
    (plane,) = jpeg_coefficients(jpeg(stripes, quality=90)).planes
    assert np.any(plane.levels[0, 0, 1:, 0])
    assert not np.any(plane.levels[0, 0, :, 1:])


def test_pixels_that_were_clipped_do_not_matter():
    page = np.full((16, 16), 255, np.uint8)
    page[4:12, 7:9] = 0
    data = jpeg(page, quality=10)
    (plane,) = jpeg_coefficients(data).planes
    unclipped = idctn(plane.levels * plane.table.astype(float), axes=(2, 3), norm="ortho") + 128
    assert unclipped.max() > 260
    pixels = simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]
    assert np.abs(samples(plane) - pixels).max() < 0.7


def test_a_photo_has_them_if_asked(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(data := jpeg(quality=30))
    assert read(tmp_path / "photo.jpg").jpeg_coefficients is None
    found = read(tmp_path / "photo.jpg", coefficients=True).jpeg_coefficients
    np.testing.assert_array_equal(found.planes[0].levels, jpeg_coefficients(data).planes[0].levels)
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    assert read(tmp_path / "photo.png", coefficients=True).jpeg_coefficients is None


def test_what_is_not_read_is_refused_in_a_sentence(tmp_path):
    cmyk = io.BytesIO()
    Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]]), mode="CMYK").save(cmyk, "JPEG")
    with pytest.raises(
        ImageError, match=r"the image is a JPEG file of 4 colours \(CMYK has 4\); leave out --cons"
    ):
        read(cmyk.getvalue(), coefficients=True)
    assert read(cmyk.getvalue()).pixels.shape == (45, 59, 3)
    with pytest.raises(ImageError, match="is a JPEG file of R, G and B"):
        read(jpeg(keep_rgb=True), coefficients=True)
    odd = bytearray(data := jpeg(subsampling="4:2:2"))
    odd[data.index(b"\xff\xc0") + 14] = 0x31  # Cb three times as dense as Cr, Y twice
    with pytest.raises(ImageError, match="a subsampling that is not whole"):
        jpeg_coefficients(bytes(odd))
    arithmetic = jpeg().replace(b"\xff\xc0", b"\xff\xc9")
    with pytest.raises(ImageError, match="not coded by Huffman's method"):
        jpeg_coefficients(arithmetic)
    film = b"\xff\xd8" + b"".join(part for marker, part in segments(jpeg()) if marker != 0xC4) + b"\xff\xd9"
    with pytest.raises(ImageError, match="without Huffman tables"):
        read(film, coefficients=True)
    np.testing.assert_array_equal(read(film).pixels, read(jpeg()).pixels)
    deep = bytearray(data)
    deep[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match="of 12 bits a sample"):
        jpeg_coefficients(bytes(deep))
    damaged = bytearray(data)
    damaged[data.index(b"\xff\xc0") + 11] = 0x20
    with pytest.raises(DecodeError):
        jpeg_coefficients(bytes(damaged))


@pytest.mark.parametrize("dropped", [1, 9])
def test_a_file_without_its_last_scans_does_not_tell_the_coefficients(dropped):
    """Decoders show it without a warning: what is not there counts as 0, which the photo's coefficients were not."""
    data = jpeg(quality=85, progressive=True)
    scans = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) == 10
    jpeg_coefficients(data)
    partial = data[: scans[-dropped]] + b"\xff\xd9"
    with pytest.raises(ImageError, match="the image is a JPEG file that holds only some scans"):
        read(partial, coefficients=True)
    assert read(partial, coefficients=80).jpeg_coefficients is None


def test_each_scan_may_bring_its_tables():
    """Y, Cb and Cr one after another, each with table number 0 of a quality of its own; of three grey files."""
    ycbcr = np.asarray(Image.fromarray(PIXELS).convert("YCbCr"))
    grey = [jpeg(ycbcr[..., c], quality=quality) for c, quality in enumerate((20, 50, 80))]
    data = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x2d\x00\x3b\x03" + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    for identifier, file in enumerate(grey, start=1):
        for marker, part in segments(file):
            if marker == 0xDA:
                data += part[:5] + bytes([identifier]) + part[6:]
            elif marker in (0xDB, 0xC4):
                data += part
    data += b"\xff\xd9"
    found = jpeg_coefficients(data)
    for plane, file in zip(found.planes, grey, strict=True):
        (expected,) = jpeg_coefficients(file).planes
        np.testing.assert_array_equal(plane.levels, expected.levels)
        np.testing.assert_array_equal(plane.table, expected.table)
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", image.size)
    for channel, plane in enumerate(found.planes):
        assert np.abs(samples(plane)[:45, :59] - np.asarray(image)[..., channel]).max() < 0.7


@pytest.mark.parametrize("progressive", [False, True])
def test_damage_is_an_error_and_no_crash(progressive):
    data = jpeg(quality=80, progressive=progressive, restart_marker_blocks=2)
    failed = 0
    for _ in range(100):
        broken = bytearray(data)
        for at in RNG.integers(20, len(data), 3):
            broken[at] = RNG.integers(256)
        cut = bytes(broken[: RNG.integers(100, len(data))])
        for file in (bytes(broken), cut):
            try:
                jpeg_coefficients(file)
            except (DecodeError, ImageError):
                failed += 1
    assert failed > 20
