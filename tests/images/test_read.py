"""Every kind of file that is read gives the pixels that an independent decoder or a formula gives."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from tiny_tiff import shorts, tiny_tiff

from ucdir.errors import ImageError
from ucdir.images import Metadata, Photo, icc, read, write
from ucdir.images.colour import colour_of_cicp
from ucdir.images.decode import DecodeError, rgb_of_ycbcr, vips
from ucdir.images.srgb import from_srgb_signal, to_srgb_signal

SIZES = [(1, 1), (1, 7), (7, 1), (33, 31), (3, 4000), (4000, 3)]


def noise(height: int, width: int, channels: int, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(height * 7919 + width * 31 + channels)
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [127 + 100 * np.sin(y / (9 + c)) * np.cos(x / (11 - c)) for c in range(channels)]
    return np.stack(planes, axis=2).astype(np.uint8)


def png(samples: np.ndarray, depth: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG file written by hand: rows without filter, samples already packed if below 8 bits."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if depth == 16 else "u1").reshape(height, -1)
    if depth < 8:
        bits = (samples.reshape(height, width, 1) >> np.arange(depth)[::-1]) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(c[:4], c[4:]) for c in chunks)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")])


def read_bytes(folder: Path, data: bytes, name: str = "photo") -> Photo:
    path = folder / name
    path.write_bytes(data)
    return read(path)


def pillow_bytes(image: Image.Image, format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def whole(photo: Photo) -> np.ndarray:
    return photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_png_is_exact_in_every_depth_and_colour(tmp_path, size, dtype, channels, colour):
    samples = noise(*size, channels, dtype)
    photo = read_bytes(tmp_path, png(samples, np.dtype(dtype).itemsize * 8, colour))
    assert photo.pixels.dtype == dtype
    assert photo.pixels.flags.c_contiguous
    np.testing.assert_array_equal(whole(photo), samples)
    assert (photo.alpha is None) == (channels in (1, 3))
    assert (photo.format, photo.jpeg_quality, photo.warnings) == ("PNG", None, ())


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_of_few_bits_is_scaled_to_eight(tmp_path, depth):
    samples = noise(13, 17, 1) >> (8 - depth)
    photo = read_bytes(tmp_path, png(samples, depth, 0))
    np.testing.assert_array_equal(photo.pixels, samples * (255 // (2**depth - 1)))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_png_palette_becomes_colours_and_alpha(tmp_path, depth):
    index = noise(13, 17, 1) >> (8 - depth)
    palette, opacity = noise(2**depth, 1, 3)[:, 0], noise(2**depth, 1, 1)[:, 0, 0]
    plain = read_bytes(tmp_path, png(index, depth, 3, b"PLTE" + palette.tobytes()))
    np.testing.assert_array_equal(whole(plain), palette[index[:, :, 0]])
    chunks = (b"PLTE" + palette.tobytes(), b"tRNS" + opacity.tobytes())
    seen = read_bytes(tmp_path, png(index, depth, 3, *chunks))
    np.testing.assert_array_equal(seen.alpha, opacity[index[:, :, 0]])


@pytest.mark.parametrize("depth", [4, 16])
def test_png_grey_level_named_transparent_is_the_only_one(tmp_path, depth):
    samples = np.arange(16, dtype=np.uint16).reshape(4, 4, 1)
    photo = read_bytes(tmp_path, png(samples, depth, 0, b"tRNS" + struct.pack(">H", 5)))
    np.testing.assert_array_equal(photo.alpha == 0, samples[:, :, 0] == 5)
    assert photo.alpha.max() == np.iinfo(photo.pixels.dtype).max


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_is_exact(tmp_path, size, dtype, channels):
    samples = noise(*size, channels, dtype)
    tifffile.imwrite(
        tmp_path / "photo.tif",
        samples[:, :, 0] if channels == 1 else samples,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
    )
    photo = read(tmp_path / "photo.tif")
    assert photo.pixels.dtype == dtype
    np.testing.assert_array_equal(whole(photo), samples)


@pytest.mark.parametrize(
    "options", [{"planarconfig": "separate"}, {"tile": (16, 16)}, {"byteorder": ">"}, {"bigtiff": True}]
)
def test_tiff_layouts(tmp_path, options):
    samples = noise(50, 37, 3, np.uint16)
    stored = samples.transpose(2, 0, 1) if "planarconfig" in options else samples
    tifffile.imwrite(tmp_path / "photo.tif", stored, photometric="rgb", **options)
    np.testing.assert_array_equal(read(tmp_path / "photo.tif").pixels, samples)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_white_is_zero_is_turned(tmp_path, dtype):
    samples = noise(9, 9, 1, dtype)[:, :, 0]
    tifffile.imwrite(tmp_path / "photo.tif", samples, photometric="miniswhite")
    np.testing.assert_array_equal(read(tmp_path / "photo.tif").pixels[:, :, 0], np.iinfo(dtype).max - samples)


@pytest.mark.parametrize(
    ("meaning", "value", "kept"),
    [("unspecified", 0, False), ("unspecified", 1, True), ("unassalpha", 0, True)],
)
@pytest.mark.parametrize("channels", [2, 4])
def test_tiff_padding_does_not_hide_the_image(tmp_path, meaning, value, kept, channels):
    samples = noise(20, 20, channels, np.uint8)
    samples[..., -1] = 0
    samples[7, 3, -1] = value
    kind = "rgb" if channels == 4 else "minisblack"
    tifffile.imwrite(
        tmp_path / "photo.tif", samples, photometric=kind, extrasamples=[meaning], planarconfig="contig"
    )
    photo = read(tmp_path / "photo.tif")
    np.testing.assert_array_equal(photo.pixels, samples[..., :-1])
    assert (photo.alpha is not None) == kept


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_premultiplied_alpha_is_divided_out(tmp_path, dtype):
    top = np.iinfo(dtype).max
    colour, alpha = noise(20, 20, 3, dtype), noise(20, 20, 1, dtype) | (top // 2 + 1)
    stored = np.rint(colour.astype(np.float64) * alpha / top).astype(dtype)
    tifffile.imwrite(
        tmp_path / "photo.tif", np.dstack([stored, alpha]), photometric="rgb", extrasamples=["assocalpha"]
    )
    photo = read(tmp_path / "photo.tif")
    np.testing.assert_array_equal(photo.alpha, alpha[:, :, 0])
    assert np.abs(photo.pixels.astype(int) - colour).max() <= 1


@pytest.mark.parametrize(
    ("samples", "options", "named"),
    [
        (np.zeros((4, 4, 3), np.float32), {"photometric": "rgb"}, "floating-point samples of 32 bits"),
        (np.zeros((4, 4), np.float16), {}, "floating-point samples of 16 bits"),
        (np.zeros((4, 4), np.uint32), {}, "samples of 32 bits"),
        (np.zeros((4, 4), np.int16), {}, "signed samples of 16 bits"),
        (np.zeros((4, 4, 3), np.uint8), {"photometric": "cielab"}, "CIE Lab"),
        (np.zeros((2, 4, 4), np.uint8), {"planarconfig": "separate", "extrasamples": [2]}, "separate planes"),
        (
            np.zeros((4, 4, 5), np.uint8),
            {"photometric": "rgb", "extrasamples": [2, 0], "planarconfig": "contig"},
            "5 samples a pixel",
        ),
    ],
)
def test_tiff_kinds_without_a_right_reading_are_named_and_refused(tmp_path, samples, options, named):
    tifffile.imwrite(tmp_path / "photo.tif", samples, **{"photometric": "minisblack", **options})
    with pytest.raises(ImageError, match=named):
        read(tmp_path / "photo.tif")


@pytest.mark.parametrize("settings", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 5}])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_equals_pillow(tmp_path, channels, settings):
    image = Image.fromarray(smooth(61, 83, channels).squeeze())
    data = pillow_bytes(image, "JPEG", **settings)
    photo = read_bytes(tmp_path, data)
    expected = np.asarray(Image.open(io.BytesIO(data))).reshape(61, 83, channels)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.jpeg_quality == settings.get("quality", 75)


def test_jpeg_with_stray_bytes_between_its_segments_is_read(tmp_path):
    data = pillow_bytes(Image.fromarray(smooth(40, 40, 3)), "JPEG")
    place = data.index(b"\xff\xdb")
    photo = read_bytes(tmp_path, data[:place] + b"\0\xff\0stray" + data[place:])
    np.testing.assert_array_equal(photo.pixels, read_bytes(tmp_path, data).pixels)
    assert photo.jpeg_quality == 75


def test_jpeg_cmyk_becomes_srgb_the_right_way_round(tmp_path):
    inks = np.zeros((16, 64, 4), np.uint8)
    inks[:, 16:32, 3] = inks[:, 32:48, 0] = inks[:, 48:, 1:3] = 255
    photo = read_bytes(tmp_path, pillow_bytes(Image.fromarray(inks, "CMYK"), "JPEG", quality=100))
    paper, black, cyan, red = (photo.pixels[8, x].astype(int) for x in (8, 24, 40, 56))
    assert paper.min() > 250
    assert black.max() < 60
    assert cyan[0] < 60
    assert cyan[2] > 120
    assert red[0] > 180
    assert red[2] < 90
    assert photo.metadata.icc is None
    assert any("sRGB" in warning for warning in photo.warnings)


def cmyk_profile():
    """A profile of CMYK in which every ink is the grey of L* = 50."""
    identity = bytes(range(256))
    head = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *(65536 * (i % 4 == 0) for i in range(9)))
    table = head + identity * 4 + bytes((128, 128, 128)) * 16 + identity * 3
    made = bytearray(icc._profile("inks", b"CMYK", {b"A2B0": table}))
    made[12:16], made[20:24] = b"prtr", b"Lab "
    return bytes(made)


def test_cmyk_is_converted_by_its_own_profile_and_said():
    image = Image.fromarray(noise(16, 16, 4), "CMYK")
    for format in ("TIFF", "JPEG"):
        by_default = read(pillow_bytes(image, format))
        assert by_default.warnings[-1].endswith("converted to sRGB by a usual profile, as it has none.")
        by_own = read(pillow_bytes(image, format, icc_profile=cmyk_profile()))
        assert by_own.warnings[-1].endswith("its CMYK colours were converted to sRGB by its own profile.")
        assert by_own.metadata.icc is None
        assert np.abs(by_own.pixels.astype(int) - 119).max() <= 2  # L* = 50 in sRGB
        assert np.ptp(by_default.pixels) > 100, "control"


def test_tiff_cmyk_equals_the_same_inks_in_jpeg(tmp_path):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 1] = 200
    tifffile.imwrite(tmp_path / "photo.tif", inks, photometric="separated")
    jpeg = read_bytes(tmp_path, pillow_bytes(Image.fromarray(inks, "CMYK"), "JPEG", quality=100))
    assert np.abs(read(tmp_path / "photo.tif").pixels.astype(int) - jpeg.pixels).max() <= 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_lossless_is_exact(tmp_path, mode):
    samples = noise(21, 34, len(mode))
    photo = read_bytes(tmp_path, pillow_bytes(Image.fromarray(samples), "WEBP", lossless=True, exact=True))
    np.testing.assert_array_equal(whole(photo), samples)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_avif_keeps_colour_model_and_values(tmp_path, channels):
    samples = smooth(48, 64, channels)
    image = Image.fromarray(samples.squeeze())
    colour = "4:0:0" if channels == 1 else "4:4:4"
    photo = read_bytes(tmp_path, pillow_bytes(image, "AVIF", quality=100, subsampling=colour))
    assert whole(photo).shape == samples.shape
    assert np.abs(whole(photo).astype(int) - samples).max() <= 3


@pytest.mark.parametrize("bits", [10, 12])
def test_avif_of_more_bits_spans_the_full_range(tmp_path, bits):
    import pyvips

    ramp = np.repeat(np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64, 1), 3, axis=2)
    image = pyvips.Image.new_from_array(ramp, interpretation="rgb16")
    photo = read_bytes(tmp_path, image.heifsave_buffer(bitdepth=bits, lossless=True, compression="av1"))
    assert photo.pixels.dtype == np.uint16
    assert (photo.pixels.min(), photo.pixels.max()) == (0, 65535)
    assert np.abs(photo.pixels.astype(int) - ramp).max() <= 65536 >> bits


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp_equals_pillow(tmp_path, mode):
    image = Image.fromarray(smooth(19, 23, 3)).convert(mode)
    photo = read_bytes(tmp_path, pillow_bytes(image, "BMP"))
    channels = 3 if mode in ("P", "RGB") else 1
    expected = np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(19, 23, channels)
    np.testing.assert_array_equal(photo.pixels, expected)


def test_gif_is_read_with_its_transparency(tmp_path):
    image = Image.fromarray(smooth(19, 23, 3)).quantize(16)
    data = pillow_bytes(image, "GIF", transparency=3)
    photo = read_bytes(tmp_path, data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    np.testing.assert_array_equal(photo.alpha, expected[:, :, 3])
    assert (photo.alpha == 0).any()
    np.testing.assert_array_equal(photo.pixels[photo.alpha > 0], expected[expected[:, :, 3] > 0][:, :3])


@pytest.mark.parametrize(
    ("format", "part"),
    [("GIF", "frame"), ("WEBP", "frame"), ("PNG", "frame"), ("AVIF", "frame"), ("TIFF", "page")],
)
def test_first_of_several_is_read_and_said(tmp_path, format, part):
    frames = [Image.fromarray(np.full((24, 24, 3), level, np.uint8)) for level in (40, 120, 200)]
    data = pillow_bytes(frames[0], format, save_all=True, append_images=frames[1:])
    photo = read_bytes(tmp_path, data)
    assert photo.pixels.shape == (24, 24, 3)
    assert np.abs(photo.pixels.astype(int) - 40).max() <= 3
    assert photo.warnings == (f"{tmp_path / 'photo'}: has 3 {part}s; only the first is restored.",)


# AVIF stores the turn itself, so it has no values that mean nothing.
@pytest.mark.parametrize(
    ("format", "orientation"),
    [
        (f, o)
        for f in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
        for o in (*range(1, 9), 0, 9, 99)
        if f != "AVIF" or 0 < o < 9
    ],
)
def test_orientation_is_applied_and_reset(tmp_path, format, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    settings = {"WEBP": {"lossless": True}, "AVIF": {"subsampling": "4:4:4"}}.get(format, {})
    data = pillow_bytes(Image.fromarray(smooth(24, 40, 3)), format, exif=exif, **settings)
    photo = read_bytes(tmp_path, data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert photo.pixels.flags.c_contiguous
    assert photo.pixels.shape == expected.shape
    assert np.abs(photo.pixels.astype(int) - expected).max() <= (2 if format == "AVIF" else 0)
    kept = Image.Exif()
    kept.load(photo.metadata.exif)
    assert kept.get(0x0112, 1) == 1
    assert kept[0x010F] == "Maker"


def test_orientation_turns_alpha_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    samples = noise(5, 9, 4)
    photo = read_bytes(tmp_path, pillow_bytes(Image.fromarray(samples), "PNG", exif=exif))
    np.testing.assert_array_equal(whole(photo), np.rot90(samples, -1))


def test_the_name_is_only_a_name(tmp_path):
    samples = noise(5, 9, 3)
    for name in ("photo.tif[page=3]", "photo.jpg", "no suffix", "-rf", "a\nb.png", "http:", "ü.png"):
        np.testing.assert_array_equal(read_bytes(tmp_path, png(samples, 8, 2), name).pixels, samples)


def test_twice_read_is_equal(tmp_path):
    data = pillow_bytes(Image.fromarray(smooth(90, 90, 3)), "AVIF")
    first, second = read_bytes(tmp_path, data), read_bytes(tmp_path, data)
    assert first.pixels.tobytes() == second.pixels.tobytes()


def test_a_file_that_changed_is_read_anew(tmp_path):
    for level in (3, 200):
        samples = np.full((8, 8, 1), level, np.uint8)
        np.testing.assert_array_equal(read_bytes(tmp_path, png(samples, 8, 0)).pixels, samples)


@pytest.mark.parametrize(
    ("pixels", "alpha"),
    [
        (np.zeros((2, 2), np.uint8), None),
        (np.zeros((2, 2, 2), np.uint8), None),
        (np.zeros((2, 2, 3), np.float32), None),
        (np.zeros((0, 2, 3), np.uint8), None),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), np.uint8)),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint16)),
    ],
)
def test_a_photo_of_arrays_that_do_not_fit_is_refused(pixels, alpha):
    with pytest.raises(ImageError):
        Photo(pixels, alpha)


def with_segment(data, marker, body):
    return data[:2] + bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


@pytest.mark.parametrize("odd", ["JFIF 2.1", "Adobe transform 9"])
def test_a_harmless_warning_of_the_decoder_is_no_damage(tmp_path, odd):
    data = pillow_bytes(Image.fromarray(smooth(40, 40, 3)), "JPEG")
    at = data.index(b"JFIF\0") + 5
    strange = data[:at] + b"\2\1" + data[at + 2 :]
    if odd.startswith("Adobe"):
        strange = with_segment(data[:2] + data[20:], 0xEE, b"Adobe\0\x64\0\0\0\0\x09")  # in place of JFIF's
    np.testing.assert_array_equal(read_bytes(tmp_path, strange).pixels, read_bytes(tmp_path, data).pixels)
    scan = strange.index(b"\xff\xda")
    broken = bytearray(strange)
    broken[scan + 60 : scan + 70] = b"\xff\0" * 5
    for damaged in (bytes(broken), strange[:-60]):  # control: it hides no damage
        with pytest.raises(ImageError, match="damaged"):
            read_bytes(tmp_path, damaged)


def test_a_compression_that_is_not_there_is_no_damage(tmp_path):
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    block = len(pixels.tobytes()) << 3 | 1
    frame = b"\x28\xb5\x2f\xfd\x20" + bytes((27,)) + block.to_bytes(3, "little") + pixels.tobytes()
    data = tiny_tiff(3, 3, 2, (8, 8, 8), frame, {259: shorts(50000)})
    try:
        outcome = read(data).pixels.tolist()
    except ImageError as error:
        outcome = str(error)
    lacks = "which this build of libtiff does not read; save it with LZW or Deflate first."
    assert outcome in (
        f"the image is compressed as ZSTD, {lacks}",
        pixels.tolist(),
    )  # some builds have Zstandard


@pytest.mark.parametrize("format", ["png", "tif"])
@pytest.mark.parametrize("profile", [None, colour_of_cicp(12, 13).profile(3)])
def test_16_bits_never_pass_through_8(tmp_path, format, profile):
    """Every level of a ramp comes back, though the networks' float32 lies between."""
    levels = np.arange(65_536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    write(Photo(levels, metadata=Metadata(icc=profile)), tmp_path / f"in.{format}")
    photo = read(tmp_path / f"in.{format}")
    np.testing.assert_array_equal(photo.pixels, levels)
    np.testing.assert_array_equal(from_srgb_signal(to_srgb_signal(photo), photo), levels)


def test_tall_images_are_fetched_a_few_rows_at_a_time(tmp_path, monkeypatch):
    """libvips looks through all rows of a fetch for each of them: 20,000 rows of one pixel took ten seconds."""
    import pyvips

    pixels = np.random.default_rng(0).integers(0, 256, (20_000, 1, 3), dtype=np.uint8)
    write(Photo(pixels), tmp_path / "tall.png")
    rows, fetch = [], pyvips.Region.fetch

    def spy(self, x, y, width, height):
        rows.append(height)
        return fetch(self, x, y, width, height)

    monkeypatch.setattr(pyvips.Region, "fetch", spy)
    assert np.array_equal(read(tmp_path / "tall.png").pixels, pixels)
    assert sum(rows) == 20_000
    assert max(rows) <= 256


@pytest.mark.parametrize("below", [False, True])
def test_a_thumbnail_before_its_photograph_does_not_pass_for_it(tmp_path, below):
    """As in TIFF/EP, whose first IFD is a small copy and has the tags that describe the photograph."""
    pixels = np.random.default_rng(0).integers(0, 65_536, (24, 40, 3), dtype=np.uint16)
    small, path = (pixels[::4, ::4] >> 8).astype(np.uint8), tmp_path / "photo.tif"
    turned = [(274, 3, 1, 3, True), (271, 2, 0, "Maker", True)]
    with tifffile.TiffWriter(path) as file:
        file.write(
            small, photometric="rgb", subfiletype=1, extratags=turned, subifds=int(below), metadata=None
        )
        file.write(pixels, photometric="rgb", subfiletype=0, resolution=(300, 300), metadata=None)
        if not below:
            file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    photo = read(path)
    np.testing.assert_array_equal(photo.pixels, pixels[::-1, ::-1])
    assert photo.warnings == ()
    assert b"Maker" in photo.metadata.exif
    assert photo.metadata.density is not None


def test_pages_that_are_smaller_than_the_first_stay_behind_it(tmp_path):
    pixels, path = np.arange(24 * 40 * 3, dtype=np.uint16).reshape(24, 40, 3), tmp_path / "photo.tif"
    for first, second in ((0, 1), (1, 1), (1, 0)):  # the last: a small page that is not said to be a copy
        with tifffile.TiffWriter(path) as file:
            file.write(pixels, photometric="rgb", subfiletype=first, metadata=None)
            file.write(pixels[::4, ::4], photometric="rgb", subfiletype=second, metadata=None)
        np.testing.assert_array_equal(read(path).pixels, pixels)


def ycbcr_tiff(path: Path, rgb: np.ndarray, dtype: type = np.uint8, **options: object) -> None:
    """YCbCr with as much colour as light, as Pillow makes it of RGB."""
    samples = np.asarray(Image.fromarray(rgb).convert("YCbCr")).astype(dtype)
    tifffile.imwrite(path, samples, photometric="ycbcr", metadata=None, **options)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"rowsperstrip": 7}])
def test_tiff_ycbcr_without_jpeg_becomes_rgb(tmp_path, options):
    y, x = np.mgrid[:24, :40]
    rgb = np.stack([y * 10, x * 6, 255 - x * 3 - y], -1).astype(np.uint8)
    ycbcr_tiff(tmp_path / "photo.tif", rgb, **options)
    found = read(tmp_path / "photo.tif").pixels
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - rgb).max() <= 3, "by the rounding of YCbCr"


def test_ycbcr_of_other_channels_is_no_fault_of_the_program():
    """libtiff may read tags that stand twice in another way than the header was read here."""
    for channels, kind in ((4, "uchar"), (3, "ushort")):
        with pytest.raises(DecodeError, match="says that it is YCbCr"):
            rgb_of_ycbcr(vips().Image.black(4, 4, bands=channels).cast(kind))


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (np.uint16, {}),
        (np.uint8, {"extratags": [(529, 5, 3, (2126, 10_000, 7152, 10_000, 722, 10_000), True)]}),
        (np.uint8, {"extratags": [(532, 5, 6, (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1), True)]}),
    ],
    ids=["16 bits", "Rec. 709", "narrow range"],
)
def test_tiff_ycbcr_of_rare_kinds_is_refused(tmp_path, dtype, options):
    ycbcr_tiff(tmp_path / "photo.tif", np.zeros((8, 8, 3), np.uint8), dtype, **options)
    with pytest.raises(ImageError, match="stores its colours as YCbCr of a kind that is rare"):
        read(tmp_path / "photo.tif")
