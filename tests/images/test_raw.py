"""RAW files: a Bayer DNG of known light comes out in its right colours, and what is no Bayer file is refused."""

import io
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
from PIL import Image
from tiny_tiff import shorts, tiny_tiff

from ucdir.errors import ImageError
from ucdir.images import raw_light, read, write
from ucdir.images.camera import camera_to_srgb, linear_to_srgb, srgb_to_linear
from ucdir.images.raw import raw_metadata
from ucdir.images.raw_light import halved

XYZ_TO_CAMERA = ((0.6629, -0.1900, -0.0483), (-0.4618, 1.2349, 0.2550), (-0.0622, 0.1381, 0.6514))
BLACK, WHITE = 512, 16383
NEUTRAL = (0.5, 1.0, 0.625)
"""What a grey card looks like to this camera; white balance is one over it."""
CODES = {"R": 0, "G": 1, "B": 2}


def fraction(numbers):
    return [part for n in numbers for part in (round(n * 10_000), 10_000)]


def write_dng(
    path, mosaic, pattern="RGGB", orientation=1, seconds=0.04, black=BLACK, maker="M", white=WHITE, extra=()
):
    """An uncompressed DNG of 16 bits, of a Bayer sensor or, with a pattern of 36 letters, an X-Trans one."""
    side = math.isqrt(len(pattern))
    tags = [
        (271, "s", 0, maker, True),
        (274, "H", 1, orientation, True),
        (33421, "H", 2, (side, side), True),  # CFARepeatPatternDim
        (33422, "B", side**2, bytes(CODES[c] for c in pattern), True),  # CFAPattern
        (33434, "2I", 1, (round(seconds * 10_000), 10_000), True),  # ExposureTime
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),  # DNGVersion
        (50708, "s", 0, "Test camera", True),  # UniqueCameraModel
        (50714, "H", 1, black, True),  # BlackLevel
        (50717, "I", 1, white, True),  # WhiteLevel
        (50721, "2i", 9, fraction(np.ravel(XYZ_TO_CAMERA)), True),  # ColorMatrix1
        (50728, "2I", 3, fraction(NEUTRAL), True),  # AsShotNeutral
        (50778, "H", 1, 21, True),  # CalibrationIlluminant1: D65
        *extra,
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
def test_a_linear_dng_is_developed_and_said(tmp_path, black, ratio):
    srgb = np.random.default_rng(0).uniform(0.2, 0.7, (4, 6, 3)).repeat(8, axis=0).repeat(8, axis=1)
    camera = srgb_to_linear(srgb) @ np.linalg.inv(camera_to_srgb(XYZ_TO_CAMERA)).T
    sensor = np.clip(camera, 0, 1) * NEUTRAL / max(NEUTRAL) / ratio
    path = write_linear_dng(tmp_path / "a.dng", sensor, black)
    assert read(path, exposure_ratio=ratio).pixels.shape == (16, 24, 3), "half size"
    photo = read(path, exposure_ratio=ratio, raw_size="full")
    assert photo.pixels.shape == (32, 48, 3)
    assert photo.pixels.dtype == np.uint16
    in_gamut = ((camera >= 0) & (camera <= 1)).all(axis=2)
    assert in_gamut.mean() > 0.5
    assert np.abs(photo.pixels / 65535 - srgb)[in_gamut].max() < 0.02
    assert photo.exposure.ratio == ratio
    assert photo.warnings == (f"{path}: is a linear DNG, demosaiced by the camera or a program before.",)


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
        photo = read(shared(path), raw_size="full")
        assert photo.pixels.shape == size
        assert photo.pixels.std() > 1000


X_TRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"


def smooth_scene(size=(96, 144), pattern="RGGB", ratio=1.0):
    """Mosaic of a scene without hard edges; not grey anywhere, and brighter to the right."""
    y, x = (axis / side for axis, side in zip(np.mgrid[: size[0], : size[1]], size, strict=True))
    srgb = np.stack([0.2 + 0.5 * x, 0.3 + 0.2 * np.sin(3 * x + 2 * y), 0.2 + 0.4 * y], axis=-1)
    camera = np.clip(srgb_to_linear(srgb) @ np.linalg.inv(camera_to_srgb(XYZ_TO_CAMERA)).T, 0, 1)
    sensor = BLACK + camera * NEUTRAL / ratio * (WHITE - BLACK)
    side = math.isqrt(len(pattern))
    cell = np.array([CODES[c] for c in pattern]).reshape(side, side)
    sites = np.tile(cell, (size[0] // side + 1, size[1] // side + 1))[: size[0], : size[1]]
    return np.rint(np.take_along_axis(sensor, sites[..., None], axis=2)[..., 0]), srgb


def half_of(photo):
    """A photo of full size at half size: the mean light of each 2x2 pixels."""
    return linear_to_srgb(halved(srgb_to_linear(photo.pixels / 65535)))


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG", X_TRANS])
@pytest.mark.parametrize("orientation", [1, 6])
def test_full_size_has_brightness_colours_and_orientation_of_half_size(tmp_path, pattern, orientation):
    mosaic, srgb = smooth_scene((516, 540) if pattern == X_TRANS else (96, 144), pattern)
    path = write_dng(tmp_path / "a.dng", mosaic, pattern, orientation)
    half, full = read(path), read(path, raw_size="full")
    assert full.exposure == replace(half.exposure, demosaiced=True)
    assert full.pixels.shape == (2 * half.pixels.shape[0], 2 * half.pixels.shape[1], 3)
    assert full.warnings == half.warnings
    assert bool(half.warnings) == (pattern == X_TRANS)
    difference = half_of(full) - half.pixels / 65535
    assert np.abs(difference[2:-2, 2:-2]).max() < 0.012
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.003  # cells see their colours at different places
    unamplified = read(path, raw_size="full", exposure_ratio=1.0).pixels / 65535
    expected = np.rot90(srgb, -1) if orientation == 6 else srgb
    assert np.abs(unamplified - expected)[4:-4, 4:-4].max() < 0.02


@pytest.mark.parametrize("pattern", ["RGGB", X_TRANS])
def test_noise_below_black_does_not_brighten_the_dark(tmp_path, pattern):
    """LibRaw cuts off what is below black before it demosaics; amplified, that would be a grey veil."""
    noise = np.random.default_rng(0).normal(0, 30, (516, 540))
    path = write_dng(tmp_path / "a.dng", np.rint(BLACK + 10 + noise), pattern)
    with rawpy.imread(str(path)) as raw:
        light = raw_light.mosaic_of(raw).demosaiced(raw, np.ones(3, np.float32))
        assert light.mean() * (WHITE - BLACK) == pytest.approx(10, abs=1)
    with rawpy.imread(str(path)) as raw:
        usual = raw.postprocess(output_color=rawpy.ColorSpace.raw, output_bps=16, gamma=(1, 1), no_auto_bright=True,
                                user_wb=[1, 1, 1, 1], adjust_maximum_thr=0)  # fmt: skip
    assert usual.mean() / 65535 * (WHITE - BLACK) > 15, "control: LibRaw by itself"


def test_the_tiniest_x_trans_files_are_refused(tmp_path):
    with pytest.raises(ImageError, match="a.dng is of an X-Trans sensor of 48 x 36 pixels"):
        read(write_dng(tmp_path / "a.dng", smooth_scene((36, 48), X_TRANS)[0], X_TRANS))


@pytest.mark.parametrize(("top", "left"), [(8, 16), (7, 13)])
def test_only_what_the_camera_means_to_be_seen(tmp_path, top, left):
    mosaic, _ = smooth_scene()
    mosaic[:top] = mosaic[:, :left] = WHITE  # what would show
    crop = ((50719, "H", 2, (left, top), True), (50720, "H", 2, (80, 60), True))  # DefaultCropOrigin, -Size
    path = write_dng(tmp_path / "a.dng", mosaic, extra=crop)
    half, full = read(path, exposure_ratio=1.0), read(path, raw_size="full", exposure_ratio=1.0)
    odd = top % 2  # LibRaw begins with whole cells
    assert full.pixels.shape == (60 - odd, 80 - odd, 3)
    assert half.pixels.shape == (30 - odd, 40 - odd, 3)
    assert (full.pixels[1 - odd :, 3:][3:, 3:] < 60000).any(axis=2).all(), "nothing of what is white outside"
    means = half_of(full)[4:28, 4:38].mean(axis=(0, 1)), half.pixels[4:28, 4:38].mean(axis=(0, 1)) / 65535
    assert np.abs(means[0] - means[1]).max() < 0.01


def test_a_camera_whose_colours_are_unknown_is_said(tmp_path):
    path = tmp_path / "a.dng"
    mosaic, _ = smooth_scene()
    tifffile.imwrite(
        path, mosaic.astype(np.uint16), photometric=32803, metadata=None,
        extratags=[
            (33421, "H", 2, (2, 2), True), (33422, "B", 4, bytes((0, 1, 1, 2)), True),
            (50706, "B", 4, bytes((1, 4, 0, 0)), True), (50708, "s", 0, "Unheard of", True),
        ],
    )  # fmt: skip
    assert any("colours are not known" in warning for warning in read(path).warnings)
    assert not read(write_dng(tmp_path / "b.dng", mosaic)).warnings, "control"


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


def test_half_size_is_recommended_in_the_extreme_dark(tmp_path):
    path = write_dng(tmp_path / "a.dng", mosaic_of((0.5, 0.5, 0.5), ratio=150.0))
    said = [read(path, exposure_ratio=ratio, raw_size="full").warnings for ratio in (199.0, 250.0)]
    assert said == [
        (),
        (f"{path}: is so dark (250 times amplified) that at half size less noise would be left.",),
    ]
    assert not read(path, exposure_ratio=250.0).warnings


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
    monkeypatch.setattr("ucdir.images.large.MAX_IMAGE_PIXELS", 1000)
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


def test_gain_is_taken_from_a_noise_profile(tmp_path):
    mosaic, _ = smooth_scene()
    profile = ((51041, "d", 2, (2e-4, 1e-6), True),)  # NoiseProfile: variance = 2e-4 light + 1e-6
    photo = read(write_dng(tmp_path / "a.dng", mosaic, extra=profile))
    assert photo.exposure.gain == pytest.approx(2e-4 * (16383 - 512))
    assert read(write_dng(tmp_path / "b.dng", mosaic)).exposure.gain is None
    for nonsense in ((float("nan"), 0.0), (-1.0, 0.0), (0.0, 0.0), (1e300, 0.0)):
        path = write_dng(tmp_path / "c.dng", mosaic, extra=((51041, "d", 2, nonsense, True),))
        assert read(path).exposure.gain is None


def test_monochrome_sensors_give_grey(tmp_path):
    light = np.linspace(0, 0.9, 144)[None].repeat(96, axis=0)
    samples = np.rint(BLACK + light * (WHITE - BLACK)).astype("<u2")
    extra = {50706: (1, 4, bytes((1, 4, 0, 0))), 50714: shorts(BLACK), 50717: shorts(WHITE)}
    data = tiny_tiff(144, 96, 34892, (16,), samples.tobytes(), extra)
    photo = read(data, exposure_ratio=1.0, raw_size="full")
    assert photo.is_grey
    np.testing.assert_allclose(photo.pixels[..., 0] / 65535, linear_to_srgb(light), atol=2e-3)
    assert read(data, exposure_ratio=1.0).pixels.shape == (48, 72, 1)


# -------------------------------------------------------------------------------------------------------- bad input

NO_RAW = {50706: (1, 4, bytes((1, 4, 0, 0)))}
CFA = {**NO_RAW, 33421: shorts(2, 2), 33422: (1, 4, bytes((0, 1, 1, 2)))}
SAMPLES = np.full((96, 144), 3000, "<u2").tobytes()


def bad_files():
    """What is wrong, the bytes, and a part of the sentence."""

    def file(tags, samples=SAMPLES, photometric=32803, width=144):
        return tiny_tiff(width, 96, photometric, (16,), samples, tags)

    def compressed(number):
        whole = bytearray(file(CFA))
        at = whole.index(struct.pack("<HHIH", 259, 3, 1, 1)) + 8
        whole[at : at + 2] = struct.pack("<H", number)
        return bytes(whole)

    linear = np.zeros((96, 144, 3), "<u2").tobytes()
    return {
        "only a preview": (tiny_tiff(8, 6, 2, (8, 8, 8), bytes(144), NO_RAW), "holds no RAW image, only previews"),
        "all zero": (file(CFA, bytes(len(SAMPLES))), "holds no picture: all of its samples are zero"),
        "all zero, linear": (
            tiny_tiff(144, 96, 34892, (16, 16, 16), linear, NO_RAW),
            "holds no picture: all of its samples are zero",
        ),
        "half of it zero": (file(CFA, SAMPLES[: len(SAMPLES) // 2].ljust(len(SAMPLES), b"\0")), "50% of its rows"),
        "black is white": (
            file({**CFA, 50714: shorts(4000), 50717: shorts(4000)}),
            "its white level 4000 is not above its black level 4000",
        ),
        "black above all": (file({**CFA, 50714: shorts(5000), 50717: shorts(16383)}), "its black level 5000 is above"),
        "JPEG XL": (compressed(52546), "is compressed as JPEG XL, which LibRaw does not read"),
        "unheard-of compression": (compressed(9999), "is compressed as number 9999, which LibRaw"),
        "Nikon's compression in a DNG": (compressed(34713), "is compressed as number 34713, which LibRaw"),
        "cut off": (file(CFA)[:-1], "it ends before its picture does"),
        "cut off, no DNG": (file({**CFA, 50706: (1, 0, b"")})[:-1], "is a damaged or incomplete RAW file"),
        "four colours": (file({**CFA, 33422: (1, 4, bytes((0, 1, 2, 3)))}), "knows red, green, blue"),
        "no pattern that is known": (
            file({**NO_RAW, 33421: shorts(3, 3), 33422: (1, 9, bytes((0, 1, 2) * 3))}),
            "neither a Bayer nor an X-Trans pattern",
        ),
        "no width": (file(CFA, width=0), "LibRaw does not know, or damaged"),
        "too large": (tiny_tiff(60000, 60000, 32803, (16,), SAMPLES, CFA), "more than ucdir opens"),
    }  # fmt: skip


@pytest.mark.parametrize("name", bad_files())
@pytest.mark.parametrize("size", ["half", "full"])
def test_bad_files_get_a_sentence(tmp_path, name, size):
    data, sentence = bad_files()[name]
    (tmp_path / "a.dng").write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read(tmp_path / "a.dng", raw_size=size)
    assert str(caught.value).startswith(f"{tmp_path}/a.dng ")
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_good_files_of_the_same_kind_are_read():
    """The control."""
    for tags in (CFA, {**CFA, 50714: shorts(500), 50717: shorts(4000)}):
        assert read(tiny_tiff(144, 96, 32803, (16,), SAMPLES, tags)).pixels.shape == (48, 72, 3)


def test_an_unknown_camera_in_a_file_of_its_maker(tmp_path):
    (tmp_path / "a.nef").write_bytes(b"II*\0\x08\0\0\0" + bytes(5000))
    with pytest.raises(
        ImageError, match=r"a.nef is a RAW file of a camera or kind that LibRaw does not know, or damaged"
    ):
        read(tmp_path / "a.nef")
