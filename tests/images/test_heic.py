"""HEIC by pillow-heif, and JPEG XL where libvips has it; where they are not, one sentence says what to do."""

import io
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from ucdir.data.photos import open_photos
from ucdir.errors import ImageError
from ucdir.images import encode_photo, read
from ucdir.images.decode import upright, vips

RAMP = np.linspace(0, 65_535, 64 * 96).astype(np.uint16).reshape(64, 96, 1)


def heic(mode, pixels, **settings):
    file = io.BytesIO()
    data = np.ascontiguousarray(pixels).tobytes()
    pillow_heif.encode(
        mode, (pixels.shape[1], pixels.shape[0]), data, file, quality=-1, chroma=444, **settings
    )
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "L;16", "RGB;16", "RGBA;16"])
def test_depth_grey_and_alpha(mode):
    wide, channels = mode.endswith("16"), len(mode.partition(";")[0])
    samples = RAMP.repeat(channels, axis=2) if wide else (RAMP >> 8).astype(np.uint8).repeat(channels, axis=2)
    photo = read(heic(mode, samples))
    assert photo.format == "HEIC"
    assert photo.warnings == ()
    found = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    assert found.dtype == samples.dtype
    assert found.shape == samples.shape
    assert (found.min(), found.max()) == (0, samples.max())
    assert np.abs(found.astype(int) - samples).max() <= (65_536 >> 10 if wide else 0)  # HEIC holds 10 bits
    assert wide is (len(np.unique(found)) > 256)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_once_by_its_coding_whatever_its_exif_says(orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 1), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    photo = read(heic("L", pixels, exif=exif.tobytes()))
    np.testing.assert_array_equal(photo.pixels, upright(pixels, orientation))
    kept = Image.Exif()
    kept.load(photo.metadata.exif)
    assert (kept[0x0112], kept[0x010F]) == (1, "Maker")


def test_what_is_kept_and_several_images():
    data = heic("RGB", RAMP.astype(np.uint8).repeat(3, axis=2), xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    assert read(data).metadata.xmp.startswith(b"<x:xmpmeta")
    file = io.BytesIO()
    images = pillow_heif.from_pillow(Image.new("RGB", (64, 64), (200, 10, 10)))
    images.add_from_pillow(Image.new("RGB", (64, 64)))
    images.save(file, quality=-1)
    photo = read(file.getvalue())
    assert photo.pixels.mean() > 50
    assert photo.warnings == ("the image: has 2 frames; only the first is restored.",)
    assert b"".join(encode_photo(photo, photo.format)[0]).startswith(b"\x89PNG"), "HEIC is not written"


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_cut_off_files_are_refused(part):
    data = heic("RGB", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(ImageError, match="get a complete copy"):
        read(data[: int(len(data) * part)])


def test_another_codec_is_named_and_no_damage():
    data = heic("RGB", np.zeros((64, 64, 3), np.uint8)).replace(b"hvc1", b"vvc1")
    with pytest.raises(
        ImageError, match="the image is coded in a way that libheif does not read here; convert"
    ):
        read(data)


def test_a_header_of_too_many_pixels_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr("ucdir.images.large.MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"is 64 x 64 pixels, more than ucdir opens"):
        read(heic("RGB", np.zeros((64, 64, 3), np.uint8)))


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch, tmp_path, caplog):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.heic").write_bytes(heic("RGB", np.zeros((64, 64, 3), np.uint8)))
    (tmp_path / "photos" / "b.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "c.png")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    store = open_photos(tmp_path / "photos", tmp_path / "cache", 8)
    assert store.names == ("c.png",)
    assert "a.heic is a HEIC image; reading it needs" in caplog.text
    assert "pip install 'ucdir[heic]'" in caplog.text
    assert "b.jxl is a" in caplog.text, "no file of a training folder is skipped silently"


def test_training_folders_may_hold_heic(tmp_path):
    (tmp_path / "a.HEIC").write_bytes(heic("RGB", np.full((64, 64, 3), 77, np.uint8)))
    assert (open_photos(tmp_path, tmp_path / "cache", 8)[0] == 77).all()


@pytest.mark.parametrize("start", [b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"])
def test_jpeg_xl_without_libvips_support_is_named(start):
    if vips().type_find("VipsOperation", "jxlload_buffer"):
        pytest.skip("this libvips reads JPEG XL")
    with pytest.raises(
        ImageError, match="JPEG XL image, which this build of libvips does not read; convert it"
    ):
        read(start + bytes(60))


def test_jpeg_xl_where_libvips_reads_it():
    if not vips().type_find("VipsOperation", "jxlload_buffer"):
        pytest.skip("this libvips does not read JPEG XL")
    vips().operation_block_set("VipsForeignSaveJxl", False)
    image = vips().Image.new_from_array(RAMP.repeat(3, axis=2), interpretation="rgb16")
    photo = read(image.jxlsave_buffer(lossless=True))
    np.testing.assert_array_equal(photo.pixels, RAMP.repeat(3, axis=2))
    assert photo.format == "JPEG XL"
