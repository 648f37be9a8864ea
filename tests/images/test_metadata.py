"""EXIF, profiles and XMP come through a reading as they should be kept."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from ucdir import limits
from ucdir.images import read
from ucdir.images.exif import clean_exif, clean_xmp, exif_of_text, icc_channels, orientation_of

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
RGB = np.zeros((4, 6, 3), np.uint8)


def block(order: str, orientation: int, thumbnail: bytes = b"") -> bytes:
    """An EXIF block with orientation and maker; behind them a directory with a thumbnail."""
    make = struct.pack(order + "HHI", 0x010F, 2, 4) + b"Abc\0"
    turn = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    main = struct.pack(order + "H", 2) + make + turn
    if not thumbnail:
        return head + main + bytes(4)
    second = len(head) + len(main) + 4
    start = second + 2 + 24 + 4
    entries = struct.pack(order + "HHII", 0x0201, 4, 1, start)
    entries += struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail))
    return head + main + struct.pack(order + "IH", second, 2) + entries + bytes(4) + thumbnail


def saved(tmp_path, pixels: np.ndarray, format: str, **settings):
    Image.fromarray(pixels).save(tmp_path / "photo", format, **settings)
    return read(tmp_path / "photo")


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_reset_and_all_else_stays(order):
    for value in range(1, 9):
        assert orientation_of(block(order, value)) == value
        assert clean_exif(block(order, value)) == block(order, 1)
        assert clean_exif(b"Exif\0\0" + block(order, value)) == block(order, 1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stale_thumbnail_is_unlinked_and_cut_off(order):
    cleaned = clean_exif(block(order, 6, b"\xff\xd8 a face that was cropped away \xff\xd9"))
    assert b"cropped" not in cleaned
    kept = Image.Exif()
    kept.load(cleaned)
    assert kept.get_ifd(1) == {}
    assert (kept[0x010F], kept[0x0112]) == ("Abc", 1)


@pytest.mark.parametrize(
    "data", [b"", b"II", b"II*\0", b"Exif\0\0", b"II*\0\xff\xff\xff\xff", b"XX*\0\x08\0\0\0\0\0"]
)
def test_what_is_no_exif_is_none(data):
    assert clean_exif(data) is None


def test_no_bytes_break_the_cleaning():
    data = block("<", 6, b"thumbnail")
    rng = np.random.default_rng(0)
    for _ in range(3000):
        broken = bytearray(data[: rng.integers(4, len(data) + 1)])
        for place in rng.integers(0, len(broken), 6):
            broken[place] = rng.integers(0, 256)
        cleaned = clean_exif(bytes(broken))
        assert cleaned is None or len(cleaned) <= len(broken)


def test_damaged_exif_is_left_out_and_said(tmp_path):
    photo = saved(tmp_path, RGB, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert photo.metadata.exif is None
    assert photo.warnings == (f"{tmp_path / 'photo'}: its EXIF data are damaged and are left out.",)


def test_profiles_are_known_by_their_space():
    assert icc_channels(SRGB) == 3
    assert icc_channels(SRGB[:16] + b"GRAY" + SRGB[20:]) == 1
    assert icc_channels(LAB) is None
    assert icc_channels(b"short") is None


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_a_fitting_profile_is_kept(tmp_path, format):
    photo = saved(tmp_path, RGB, format, icc_profile=SRGB)
    assert photo.metadata.icc == SRGB
    assert photo.warnings == ()


@pytest.mark.parametrize(("pixels", "profile"), [(RGB[:, :, 0], SRGB), (RGB, LAB), (RGB, b"\0" * 200)])
def test_a_profile_of_another_space_is_left_out_and_said(tmp_path, pixels, profile):
    photo = saved(tmp_path, pixels, "TIFF", icc_profile=profile)
    assert photo.metadata.icc is None
    assert photo.warnings == (
        f"{tmp_path / 'photo'}: its colour profile does not fit its pixels and is left out.",
    )


def test_endless_metadata_are_left_out_and_said(tmp_path):
    profile = SRGB + bytes(limits.MAX_METADATA_BYTES)
    photo = saved(tmp_path, RGB, "TIFF", icc_profile=profile)
    assert photo.metadata.icc is None
    assert "8 MiB" in photo.warnings[0]


def test_xmp_loses_its_orientation():
    for given in (b'<a tiff:Orientation="6"/>', b"<a tiff:Orientation = '8'/>", b"<tiff:Orientation>3</"):
        cleaned = clean_xmp(given)
        assert len(cleaned) == len(given)
        assert b"1" in cleaned
    assert clean_xmp(b"<a x:Rating='6'/>") == b"<a x:Rating='6'/>"


def test_exif_in_a_text_chunk_of_png_is_used(tmp_path):
    from PIL import PngImagePlugin

    data = b"Exif\0\0" + block("<", 6)
    text = f"\nexif\n      {len(data)}\n{data.hex()}\n"
    assert exif_of_text(text) == data
    assert exif_of_text("exif 4 zz") is None
    assert exif_of_text("") is None
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG", pnginfo=info)
    (tmp_path / "photo").write_bytes(file.getvalue())
    photo = read(tmp_path / "photo")
    assert photo.pixels.shape == (6, 4, 3)
    assert photo.metadata.exif == block("<", 1)
