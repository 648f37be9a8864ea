"""What is written reads back the same, by ucdir and by others, or is refused before anything is made."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from ucdir.errors import OutputError
from ucdir.images import WRITABLE_SUFFIXES, Metadata, Photo, check_writable, read, write
from ucdir.images.camera import Camera
from ucdir.images.exif import orientation_of, without_orientation

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><note>kept</note></x:xmpmeta>"
EXACT = (".png", ".tif", ".tiff", ".bmp")


def exif(maker: str = "Maker", *, order: str = "<", note: bytes = b"note with offsets") -> bytes:
    """An EXIF block: maker, orientation, date and a maker's note."""
    block = Image.Exif()
    block.endian = order
    block[0x010F], block[0x0112] = maker, 1
    block.get_ifd(0x8769).update({0x9003: "2020:02:03 04:05:06", 0x927C: note, 0x829A: 0.01})
    return block.tobytes().removeprefix(b"Exif\0\0")


def noise(channels: int, dtype: type = np.uint8, height: int = 19, width: int = 31) -> np.ndarray:
    return np.random.default_rng(channels).integers(
        0, np.iinfo(dtype).max + 1, (height, width, channels), dtype
    )


def smooth(channels: int, dtype: type = np.uint8) -> np.ndarray:
    y, x = np.mgrid[:40, :56]
    plane = (np.sin(y / 13) * np.cos(x / 17) + 1) / 2 * np.iinfo(dtype).max
    return np.repeat(plane[:, :, None], channels, axis=2).astype(dtype)


@pytest.mark.parametrize("suffix", [suffix for suffix in WRITABLE_SUFFIXES if suffix != ".dng"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_format_holds_every_photograph(tmp_path, suffix, channels, dtype):
    pixels = smooth(channels, dtype)
    path = tmp_path / f"photo{suffix}"
    assert write(Photo(pixels), path) == ()
    assert [child.name for child in tmp_path.iterdir()] == [path.name]
    back = read(path)
    keeps_sixteen = suffix in (".png", ".tif", ".tiff")
    assert back.pixels.dtype == (dtype if keeps_sixteen else np.uint8)
    assert back.pixels.shape[2] == (3 if suffix == ".webp" else channels)
    expected = pixels if keeps_sixteen or dtype == np.uint8 else np.rint(pixels / 257)
    tolerance = 0 if suffix in EXACT else 4
    assert np.abs(back.pixels.astype(int) - expected).max() <= tolerance
    assert back.jpeg_quality == (95 if suffix in (".jpg", ".jpeg") else None)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 4000), (4000, 3)])
def test_alpha_and_depth_are_exact(tmp_path, suffix, channels, dtype, size):
    pixels, alpha = noise(channels, dtype, *size), noise(1, dtype, *size)[:, :, 0]
    write(Photo(pixels, alpha), tmp_path / f"photo{suffix}")
    back = read(tmp_path / f"photo{suffix}")
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_array_equal(back.alpha, alpha)


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_survives_lossy_formats(tmp_path, suffix, channels):
    pixels, alpha = smooth(channels), smooth(1)[::-1, ::-1, 0]
    write(Photo(pixels, alpha), tmp_path / f"photo{suffix}")
    back = read(tmp_path / f"photo{suffix}")
    assert np.abs(back.alpha.astype(int) - alpha).max() <= 4
    seen = alpha > 32
    assert np.abs(back.pixels.astype(int) - pixels)[seen].max() <= 8


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_is_read_by_others(tmp_path, order, channels):
    pixels = noise(channels, np.uint16, 700, 300)
    alpha = pixels[:, :, 3] if channels == 4 else None
    photo = Photo(pixels[:, :, :3], alpha, metadata=Metadata(exif=exif(order=order), icc=SRGB, xmp=XMP))
    write(photo, tmp_path / "photo.tif")
    with tifffile.TiffFile(tmp_path / "photo.tif") as file:
        np.testing.assert_array_equal(file.asarray(), pixels.squeeze())
        tags = file.pages[0].tags
        assert file.byteorder == order
        assert tags["Make"].value == "Maker"
        assert tags["ExifTag"].value["DateTimeOriginal"] == "2020:02:03 04:05:06"
        assert bytes(tags["ExifTag"].value["MakerNote"]) == b"note with offsets"
        assert bytes(tags["InterColorProfile"].value) == SRGB
    np.testing.assert_array_equal(read(tmp_path / "photo.tif").pixels, pixels[:, :, :3])


def test_png_is_read_by_others(tmp_path):
    pixels = noise(3)
    write(Photo(pixels, metadata=Metadata(exif(), SRGB, XMP)), tmp_path / "photo.png")
    with Image.open(tmp_path / "photo.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
        assert image.info["icc_profile"] == SRGB
        assert image.info["xmp"] == XMP
        assert image.getexif()[0x010F] == "Maker"


def test_jpeg_is_of_quality_95_with_full_colour(tmp_path):
    write(Photo(noise(3)), tmp_path / "photo.jpg")
    with Image.open(tmp_path / "photo.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    assert read(tmp_path / "photo.jpg").jpeg_quality == 95


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_metadata_are_kept_byte_for_byte(tmp_path, suffix):
    metadata = Metadata(exif(), SRGB, XMP)
    assert write(Photo(smooth(3), metadata=metadata), tmp_path / f"photo{suffix}") == ()
    assert read(tmp_path / f"photo{suffix}").metadata == metadata


@pytest.mark.parametrize("suffix", [".tif", ".avif"])
def test_metadata_are_kept_in_meaning(tmp_path, suffix):
    assert write(Photo(smooth(3), metadata=Metadata(exif(), SRGB, XMP)), tmp_path / f"photo{suffix}") == ()
    back = read(tmp_path / f"photo{suffix}").metadata
    assert (back.icc, back.xmp) == (SRGB, XMP)
    block = Image.Exif()
    block.load(back.exif)
    assert block[0x010F] == "Maker"
    assert block.get_ifd(0x8769)[0x9003] == "2020:02:03 04:05:06"


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_avif_stays_where_it_is_but_for_its_orientation(tmp_path, order):
    """Pillow writes EXIF with an orientation anew: accents become question marks, maker notes lose their offsets."""
    place, note = "Zürich".encode(), b"note with offsets"
    block = exif("Z..rich", order=order).replace(b"Z..rich", place)
    assert orientation_of(block) == 1
    write(Photo(smooth(3), metadata=Metadata(exif=block)), tmp_path / "photo.avif")
    plain = without_orientation(block)
    assert plain in (tmp_path / "photo.avif").read_bytes()
    assert orientation_of(plain) is None
    assert (plain.index(place), plain.index(note)) == (block.index(place), block.index(note))
    assert place in read(tmp_path / "photo.avif").metadata.exif
    assert without_orientation(plain) == plain, "there is none"
    assert without_orientation(b"no EXIF") == b"no EXIF"


def test_a_second_trip_changes_nothing(tmp_path):
    write(Photo(noise(3, np.uint16), metadata=Metadata(exif(), SRGB, XMP)), tmp_path / "a.tif")
    first = read(tmp_path / "a.tif")
    write(first, tmp_path / "b.tif")
    assert read(tmp_path / "b.tif").metadata == first.metadata


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".avif"])
def test_a_grey_profile_stays_with_grey(tmp_path, suffix):
    assert write(Photo(smooth(1), metadata=Metadata(icc=GREY)), tmp_path / f"photo{suffix}") == ()
    assert read(tmp_path / f"photo{suffix}").metadata.icc == GREY


def test_what_a_format_cannot_hold_is_left_out_and_said(tmp_path):
    said = write(Photo(smooth(1), metadata=Metadata(icc=GREY)), tmp_path / "photo.webp")
    assert said == (f"{tmp_path / 'photo.webp'}: WebP cannot hold the photograph's colour profile.",)
    assert read(tmp_path / "photo.webp").metadata.icc is None
    long = exif("M" * 70_000)
    said = write(Photo(smooth(3), metadata=Metadata(exif=long)), tmp_path / "photo.jpg")
    assert said == (f"{tmp_path / 'photo.jpg'}: JPEG cannot hold the photograph's EXIF.",)
    said = write(Photo(smooth(3), metadata=Metadata(exif(), SRGB, XMP)), tmp_path / "photo.bmp")
    assert said == (
        f"{tmp_path / 'photo.bmp'}: BMP cannot hold the photograph's EXIF, XMP and colour profile.",
    )


def test_exif_that_an_encoder_stumbles_over_does_not_cost_the_photograph(tmp_path):
    broken = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x0112, 3, 1, 1) + b"\xff" * 9
    write(Photo(smooth(3), metadata=Metadata(exif=broken)), tmp_path / "photo.avif")
    assert read(tmp_path / "photo.avif").pixels.shape == smooth(3).shape


def test_types_that_only_bigtiff_has_are_not_copied_into_a_tiff(tmp_path):
    block = bytearray(exif())
    at = block.index(struct.pack("<HHI", 0x8769, 4, 1))
    block[at + 2] = 18
    write(Photo(smooth(3), metadata=Metadata(exif=bytes(block))), tmp_path / "photo.tif")
    assert read(tmp_path / "photo.tif").pixels.shape == smooth(3).shape
    with Image.open(tmp_path / "photo.tif") as image:
        assert image.tag_v2[0x010F] == "Maker"


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_transparency_is_not_lost_unasked(tmp_path, suffix):
    photo = Photo(noise(3), noise(1)[:, :, 0])
    for action in (write, lambda p, path: check_writable(path, photo=p)):
        with pytest.raises(OutputError, match=r"transparency .* choose one of \.avif, \.png"):
            action(photo, tmp_path / f"photo{suffix}")
    assert not [*tmp_path.iterdir()]


def test_sizes_beyond_a_format_are_refused(tmp_path):
    photo = Photo(np.zeros((1, 16_384, 1), np.uint8))
    with pytest.raises(OutputError, match=r"16384 x 1 pixels as WebP, which ends at 16,383"):
        check_writable(tmp_path / "photo.webp", photo=photo)
    with pytest.raises(OutputError, match="JPEG, which ends at 65,500"):
        write(Photo(np.zeros((65_501, 1, 1), np.uint8)), tmp_path / "photo.jpg")
    write(photo, tmp_path / "photo.png")


@pytest.mark.parametrize("name", ["photo", "photo.gif", "photo.nef", "photo.png.txt", "photo.png[Q=1]"])
def test_unknown_suffixes_are_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(OutputError, match=r"choose one of \.avif, \.bmp, \.dng, \.jpeg, \.jpg, \.png"):
        write(Photo(noise(3)), tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_capital_suffixes_are_the_same(tmp_path):
    write(Photo(noise(3)), tmp_path / "photo.PNG")
    assert read(tmp_path / "photo.PNG").format == "PNG"


def test_sixteen_bits_are_rounded_not_cut(tmp_path):
    levels = np.arange(0, 65_536, 5, dtype=np.uint16).reshape(1, -1, 1)
    write(Photo(levels), tmp_path / "photo.bmp")
    np.testing.assert_array_equal(read(tmp_path / "photo.bmp").pixels, np.rint(levels / 257))


def test_an_encoder_that_gives_up_is_reported(tmp_path, monkeypatch):
    def fail(*_args: object, **_settings: object) -> None:
        raise OSError("encoder error -2")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OutputError, match=r"cannot be encoded as WebP \(encoder error -2\)"):
        write(Photo(noise(3)), tmp_path / "photo.webp")
    assert not [*tmp_path.iterdir()]


def test_arrays_that_are_views_are_written_right(tmp_path):
    pixels = noise(3)[::-1, ::2]
    for suffix in EXACT:
        write(Photo(pixels), tmp_path / f"photo{suffix}")
        np.testing.assert_array_equal(read(tmp_path / f"photo{suffix}").pixels, pixels)


def test_the_same_photograph_gives_the_same_file(tmp_path):
    camera = Camera(np.ones(3, np.float32), np.eye(3), np.ones(3, np.float32))
    photo = Photo(smooth(3), metadata=Metadata(exif(), SRGB, XMP), camera=camera)
    for suffix in WRITABLE_SUFFIXES:
        first, second = (Path(tmp_path / f"{name}{suffix}") for name in "ab")
        write(photo, first)
        write(photo, second)
        assert first.read_bytes() == second.read_bytes()
        assert io.BytesIO(first.read_bytes()).getbuffer().nbytes > 100
