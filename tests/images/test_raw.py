"""RAW files: a Bayer DNG of known light comes out in its right colours, and what is no Bayer file is refused."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ucdir.errors import ImageError
from ucdir.images import read, write
from ucdir.images.camera import camera_to_srgb, linear_to_srgb, srgb_to_linear
from ucdir.images.raw import raw_metadata

XYZ_TO_CAMERA = ((0.6629, -0.1900, -0.0483), (-0.4618, 1.2349, 0.2550), (-0.0622, 0.1381, 0.6514))
BLACK, WHITE = 512, 16383
NEUTRAL = (0.5, 1.0, 0.625)
"""What a grey card looks like to this camera; white balance is one over it."""
CODES = {"R": 0, "G": 1, "B": 2}


def fraction(numbers):
    return [part for n in numbers for part in (round(n * 10_000), 10_000)]


def write_dng(path, mosaic, pattern="RGGB", orientation=1, seconds=0.04, black=BLACK, maker="M"):
    """An uncompressed Bayer DNG of 16 bits."""
    tags = [
        (271, "s", 0, maker, True),
        (274, "H", 1, orientation, True),
        (33421, "H", 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, "B", 4, bytes(CODES[c] for c in pattern), True),  # CFAPattern
        (33434, "2I", 1, (round(seconds * 10_000), 10_000), True),  # ExposureTime
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),  # DNGVersion
        (50708, "s", 0, "Test camera", True),  # UniqueCameraModel
        (50714, "H", 1, black, True),  # BlackLevel
        (50717, "I", 1, WHITE, True),  # WhiteLevel
        (50721, "2i", 9, fraction(np.ravel(XYZ_TO_CAMERA)), True),  # ColorMatrix1
        (50728, "2I", 3, fraction(NEUTRAL), True),  # AsShotNeutral
        (50778, "H", 1, 21, True),  # CalibrationIlluminant1: D65
    ]
    tifffile.imwrite(path, mosaic.astype(np.uint16), photometric=32803, extratags=tags, metadata=None)
    return path


def mosaic_of(srgb, pattern="RGGB", ratio=1.0, size=(48, 64)):
    """The sensor's numbers of an even image of one sRGB colour in [0,1], underexposed by a ratio."""
    camera = np.linalg.inv(camera_to_srgb(XYZ_TO_CAMERA)) @ srgb_to_linear(np.array(srgb, dtype=np.float64))
    sensor = np.clip(camera, 0, 1) * NEUTRAL / max(NEUTRAL)
    level = {c: BLACK + v * (WHITE - BLACK) / ratio for c, v in zip("RGB", sensor, strict=True)}
    cell = np.array([level[c] for c in pattern]).reshape(2, 2)
    return np.tile(np.rint(cell), (size[0] // 2, size[1] // 2))


def middle(photo):
    height, width = photo.pixels.shape[:2]
    return photo.pixels[height // 2, width // 2] / 65535


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("colour", [(0.5, 0.5, 0.5), (0.7, 0.4, 0.3), (0.3, 0.5, 0.6)])
def test_colours_come_out_right(tmp_path, pattern, colour):
    photo = read(write_dng(tmp_path / "a.dng", mosaic_of(colour, pattern), pattern), exposure_ratio=1.0)
    assert photo.pixels.shape == (24, 32, 3)
    assert photo.pixels.dtype == np.uint16
    assert middle(photo) == pytest.approx(colour, abs=0.01)
    assert photo.format == "RAW"
    assert photo.exposure.ratio == 1.0
    assert photo.exposure.seconds == pytest.approx(0.04)


def write_linear_dng(path, light, black=BLACK):
    """A DNG that was demosaiced already, as phones write it: light [h,w,3] of the camera's colours in [0,1]."""
    tags = [
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),
        (50708, "s", 0, "Test phone", True),
        (50714, "H", 3, (black,) * 3, True),
        (50717, "I", 3, (WHITE,) * 3, True),
        (50721, "2i", 9, fraction(np.ravel(XYZ_TO_CAMERA)), True),
        (50728, "2I", 3, fraction(NEUTRAL), True),
        (50778, "H", 1, 21, True),
    ]
    samples = np.rint(black + np.clip(light, 0, 1) * (WHITE - black)).astype(np.uint16)
    tifffile.imwrite(path, samples, photometric=34892, extratags=tags, metadata=None)
    return path


@pytest.mark.parametrize("black", [0, BLACK])
@pytest.mark.parametrize("ratio", [1.0, 8.0])
def test_a_linear_dng_is_developed_at_full_size_and_said(tmp_path, black, ratio):
    srgb = np.random.default_rng(0).uniform(0.2, 0.7, (4, 6, 3)).repeat(8, axis=0).repeat(8, axis=1)
    camera = srgb_to_linear(srgb) @ np.linalg.inv(camera_to_srgb(XYZ_TO_CAMERA)).T
    sensor = np.clip(camera, 0, 1) * NEUTRAL / max(NEUTRAL) / ratio
    path = write_linear_dng(tmp_path / "a.dng", sensor, black)
    photo = read(path, exposure_ratio=ratio)
    assert photo.pixels.shape == (32, 48, 3)
    assert photo.pixels.dtype == np.uint16
    in_gamut = ((camera >= 0) & (camera <= 1)).all(axis=2)
    assert in_gamut.mean() > 0.5
    assert np.abs(photo.pixels / 65535 - srgb)[in_gamut].max() < 0.02
    assert photo.exposure.ratio == ratio
    assert photo.warnings == (
        f"{path}: is a linear DNG, demosaiced by the camera or a program; it is restored at full size.",
    )


def test_a_linear_dng_cut_off_is_refused(tmp_path):
    whole = write_linear_dng(tmp_path / "a.dng", np.full((48, 64, 3), 0.3)).read_bytes()
    (tmp_path / "b.dng").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="b.dng is a"):
        read(tmp_path / "b.dng")


def test_linear_dngs_of_a_phone_and_a_camera(shared):
    for path, size in (
        ("cases/files/dng_linear_like_proraw.dng", (192, 256, 3)),
        ("data/eval/raw/photoprism_canon_eos_6d.dng", (816, 1224, 3)),
    ):
        photo = read(shared(path))
        assert photo.pixels.shape == size
        assert photo.pixels.std() > 1000


def test_exif_is_kept_without_what_tells_of_the_mosaic(tmp_path):
    file = write_dng(tmp_path / "a.dng", mosaic_of((0.5, 0.5, 0.5)), orientation=6, maker="Test maker")
    photo = read(file)
    write(photo, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        exif = image.getexif()
    assert exif[271] == "Test maker"
    assert exif.get_ifd(0x8769)[33434] == pytest.approx(0.04), (
        "the exposure time, which DNG has in its first directory"
    )
    assert exif.get(274, 1) == 1, "the pixels are upright already"
    assert not {33421, 33422, 50714, 273} & set(exif)


def test_raf_and_cr3_have_their_exif_elsewhere():
    block = Image.Exif()
    block[0x010F] = "Maker"
    block.get_ifd(0x8769)[0x9003] = "2020:02:03 04:05:06"
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=block)
    jpeg = file.getvalue()
    raf = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 92, len(jpeg)) + jpeg
    inner = Image.Exif()
    inner[0x9003] = "2020:02:03 04:05:06"
    boxes = ((b"CMT1", block), (b"CMT2", inner))
    cr3 = bytes(40)
    for name, content in boxes:
        data = content.tobytes().removeprefix(b"Exif\0\0")
        cr3 += struct.pack(">I", len(data) + 8) + name + data
    for data in (raf, cr3):
        found = Image.Exif()
        found.load(raw_metadata(data).exif)
        assert found[0x010F] == "Maker"
        assert found.get_ifd(0x8769)[0x9003] == "2020:02:03 04:05:06"
    assert raw_metadata(bytes(100)).exif is None


def test_a_dark_file_amplified_is_a_bright_one(tmp_path):
    bright = read(write_dng(tmp_path / "a.dng", mosaic_of((0.6, 0.5, 0.4))), exposure_ratio=1.0)
    dark = write_dng(tmp_path / "b.dng", mosaic_of((0.6, 0.5, 0.4), ratio=100.0))
    assert middle(read(dark, exposure_ratio=100.0)) == pytest.approx(middle(bright), abs=0.02)
    assert middle(read(dark, exposure_ratio=1.0)).max() < 0.1, "control"


def test_the_ratio_is_found_by_itself(tmp_path):
    dark = write_dng(tmp_path / "a.dng", mosaic_of((0.5, 0.5, 0.5), ratio=80.0))
    found = read(dark)
    assert 20 < found.exposure.ratio < 300
    assert 0.3 < middle(found).mean() < 0.6
    assert read(dark, exposure_ratio="file").exposure.ratio == pytest.approx(250)  # 10 s / 0.04 s
    short = write_dng(tmp_path / "b.dng", mosaic_of((0.5, 0.5, 0.5), ratio=80.0), seconds=0.001)
    assert read(short, exposure_ratio="file").exposure.ratio == 300
    bright = write_dng(tmp_path / "c.dng", mosaic_of((0.95, 0.95, 0.95)))
    assert read(bright).exposure.ratio == 1


def test_black_is_black_and_burnt_is_white(tmp_path):
    black = write_dng(tmp_path / "a.dng", np.full((48, 64), BLACK))
    assert not read(black, exposure_ratio=300.0).pixels.any()
    burnt = write_dng(tmp_path / "b.dng", np.full((48, 64), WHITE))
    assert middle(read(burnt, exposure_ratio=1.0)) == pytest.approx([1, 1, 1], abs=0.002)


def test_all_eight_orientations(tmp_path):
    mosaic = mosaic_of((0.2, 0.2, 0.2))
    mosaic[:8, :8] = WHITE  # a white square in the upper left corner
    corners = {}
    for orientation in range(1, 9):
        file = write_dng(tmp_path / f"{orientation}.dng", mosaic, orientation=orientation)
        grey = read(file, exposure_ratio=1.0).pixels.mean(axis=2)
        corners[orientation] = grey.shape, np.argwhere(grey > 60000).mean(axis=0).round().astype(int).tolist()
    assert corners == {
        1: ((24, 32), [2, 2]),
        2: ((24, 32), [2, 30]),
        3: ((24, 32), [22, 30]),
        4: ((24, 32), [22, 2]),
        5: ((32, 24), [2, 2]),
        6: ((32, 24), [2, 22]),
        7: ((32, 24), [30, 22]),
        8: ((32, 24), [30, 2]),
    }


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_file_cut_off_is_refused(tmp_path, kept):
    whole = write_dng(tmp_path / "a.dng", mosaic_of((0.5, 0.5, 0.5))).read_bytes()
    (tmp_path / "b.dng").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ImageError, match="b.dng is a"):
        read(tmp_path / "b.dng")


def test_a_plain_tiff_is_no_raw_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8, 3), 7, np.uint8), photometric="rgb")
    assert read(tmp_path / "a.tif").exposure is None


def test_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("ucdir.images.readers.MAX_IMAGE_PIXELS", 1000)
    path = write_dng(tmp_path / "a.dng", mosaic_of((0.5, 0.5, 0.5)))
    with pytest.raises(ImageError, match=r"a.dng is 64 x 48 pixels, more than ucdir opens \(1,000 in all"):
        read(path)


def test_a_real_mosaic_has_no_cast(test_data, tmp_path):
    """One real photograph, wrapped into a DNG: its mean colour is near grey under its own grey-world balance."""
    file: Path = test_data / "raw" / "bayer_rggb_192x128.raw"
    mosaic = np.fromfile(file, "<u2").reshape(128, 192)
    photo = read(write_dng(tmp_path / "a.dng", mosaic, black=600))
    light = srgb_to_linear(photo.pixels / 65535)
    assert 0.05 < light.mean() < 0.4
    assert photo.pixels.shape == (64, 96, 3)
    assert linear_to_srgb(light.max()) == pytest.approx(1, abs=0.05)
