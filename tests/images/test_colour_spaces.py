"""A file's colours stay what they are, however it names its colour space, and networks see them in sRGB's numbers."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from colour_files import (
    P3_POINTS,
    SCENE,
    avif,
    chrm,
    exif_of_adobe_rgb,
    gama,
    hdr_profile,
    heic,
    middles,
    nclx,
    png,
    scene_in,
    seen,
    tiff_with_adobe_rgb,
    with_exif,
)  # fmt: skip
from PIL import Image, ImageCms

from ucdir.errors import ImageError
from ucdir.images import Metadata, Photo, encode_photo, read, write
from ucdir.images import icc as icc_module
from ucdir.images.camera import linear_to_srgb
from ucdir.images.colour import ADOBE_RGB, SRGB, Colour, colour_of_cicp
from ucdir.images.icc import SRGB_CURVE, colour_space, grey_profile, rgb_profile
from ucdir.images.pixels import to_signal
from ucdir.images.srgb import amplified, as_srgb, from_srgb_signal, own_space, to_srgb_signal
from ucdir.workflows.restore import brightened, restore

NAMED = {
    "AVIF nclx": lambda: avif(scene_in("P3", "sRGB"), 12, 13),
    "AVIF nclx BT.2020": lambda: avif(scene_in("BT.2020", "BT.709"), 9, 1),
    "HEIC nclx": lambda: heic(scene_in("P3", "sRGB"), **nclx(12, 13)),
    "HEIC nclx, 10 bits": lambda: heic(scene_in("BT.2020", "BT.709", np.uint16), "RGB;16", **nclx(9, 14)),
    "PNG cICP": lambda: png(scene_in("P3", "sRGB"), {b"cICP": bytes((12, 13, 0, 1))}),
    "PNG cICP, 16 bits": lambda: png(
        scene_in("BT.2020", "BT.709", np.uint16), {b"cICP": bytes((9, 14, 0, 1))}
    ),
    "PNG cICP before sRGB": lambda: png(
        scene_in("P3", "sRGB"), {b"sRGB": b"\0", b"cICP": bytes((12, 13, 0, 1))}
    ),
    "PNG cHRM and gAMA": lambda: png(scene_in("P3", "2.2"), chrm(P3_POINTS) | gama(1 / 2.2)),
    "PNG cHRM": lambda: png(scene_in("P3", "sRGB"), chrm(P3_POINTS)),
    "PNG gAMA": lambda: png(scene_in("sRGB", "1.8", np.uint16), gama(1 / 1.8)),
    "JPEG EXIF": lambda: with_exif(
        scene_in("Adobe", "Adobe"), "JPEG", b"Exif\0\0" + exif_of_adobe_rgb(), quality=100
    ),
    "WebP EXIF": lambda: with_exif(scene_in("Adobe", "Adobe"), "WEBP", exif_of_adobe_rgb(), lossless=True),
    "PNG EXIF": lambda: png(scene_in("Adobe", "Adobe"), {b"eXIf": exif_of_adobe_rgb()}),
    "TIFF EXIF": tiff_with_adobe_rgb,
}


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("output", ["png", "jpg", "tif", "webp", "avif"])
def test_colours_look_the_same_in_every_output(tmp_path, kind, output):
    photo = read(NAMED[kind]())
    assert not photo.warnings
    written = tmp_path / f"out.{output}"
    assert write(photo, written) == ()
    with Image.open(written) as image:
        shown = middles(seen(image.convert("RGB") if image.mode != "RGB" else image))
    assert np.abs(shown - SCENE * 255).max() <= 6
    bare = middles(photo.pixels) / np.iinfo(photo.pixels.dtype).max
    assert np.abs(bare - SCENE).max() > 0.03, "control: without the profile they would not"


@pytest.mark.parametrize("kind", NAMED)
def test_networks_see_srgb_and_what_they_leave_stays_as_it_was(kind):
    photo = read(NAMED[kind]())
    signal = to_srgb_signal(photo)
    assert np.abs(middles(np.moveaxis(signal[0], 0, -1)) / 2 + 0.5 - SCENE).max() < 0.02
    np.testing.assert_array_equal(from_srgb_signal(signal, photo), photo.pixels)


@pytest.mark.parametrize(
    "chunks",
    [
        {},
        {b"sRGB": b"\0", **gama(1 / 2.2), **chrm(SRGB)},
        gama(0.45455),
        chrm(SRGB),
        gama(0.45455) | chrm(SRGB),
        {b"sRGB": b"\0", **gama(1)},
        {b"cICP": bytes((1, 13, 0, 1))},
        {b"cICP": bytes((2, 2, 0, 1))},
        {b"cICP": bytes((1, 13, 0, 1)), **gama(1)},
        {b"gAMA": b"\0\0"},
        {b"gAMA": bytes(4)},
        {b"cHRM": bytes(32)},
        {b"cICP": b"\x0c"},
    ],
)
def test_srgb_by_any_name_needs_no_profile(chunks):
    assert read(png(scene_in("sRGB", "sRGB"), chunks)).metadata.icc is None


@pytest.mark.parametrize(
    "points",
    [
        ((0.64, 0.33), (0.30, 0.60), (0.15, 1e-5), (0.3127, 1e-5)),
        ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.9, 0.9)),
        ((0.64, 0.33), (0.64, 0.33), (0.15, 0.06), (0.3127, 0.329)),
        ((0.64, 0.33), (0.30, 0.60), (0.31, 0.61), (0.3127, 0.329)),
        ((40_000.0, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.329)),
    ],
)
def test_chromaticities_of_no_colours_are_said_and_left(points):
    photo = read(png(scene_in("sRGB", "sRGB"), chrm(points)))
    assert photo.metadata.icc is None
    (warning,) = photo.warnings
    assert "its colour space is of a kind that is not known" in warning


def test_exif_that_says_srgb_or_nothing_is_srgb():
    for exif in (exif_of_adobe_rgb(b"R98\0"), exif_of_adobe_rgb()[:26], b"MM\0*\0\0\0\x08"):
        assert read(png(scene_in("sRGB", "sRGB"), {b"eXIf": exif})).metadata.icc is None
    assert read(avif(scene_in("sRGB", "sRGB"), 1, 13)).metadata.icc is None
    stated = {b"sRGB": b"\0", b"eXIf": exif_of_adobe_rgb()}
    assert read(png(scene_in("sRGB", "sRGB"), stated)).metadata.icc is None, "the file's own word counts more"


def test_cicp_overrules_a_profile_and_a_profile_the_rest():
    profile = ADOBE_RGB.profile(3)
    iccp = {b"iCCP": b"x\0\0" + zlib.compress(profile)}
    pixels = scene_in("sRGB", "sRGB")
    assert read(png(pixels, iccp | gama(1))).metadata.icc == profile
    assert read(png(pixels, iccp | {b"cICP": bytes((12, 13, 0, 1))})).metadata.icc == colour_of_cicp(
        12, 13
    ).profile(3)


def test_grey_of_another_curve_is_kept_and_seen_right():
    light = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8, 1)
    photo = read(png(light, gama(1)))
    assert photo.is_grey
    assert np.abs(to_srgb_signal(photo)[0, 1] / 2 + 0.5 - linear_to_srgb(light[..., 0] / 65535)).max() < 1e-3
    np.testing.assert_array_equal(from_srgb_signal(to_srgb_signal(photo), photo), light)
    image = Image.open(io.BytesIO(b"".join(encode_photo(photo, "tiff")[0])))
    lcms = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert lcms.profile.xcolor_space == "GRAY"


def test_unknown_code_points_are_said():
    photo = read(png(scene_in("sRGB", "sRGB"), {b"cICP": bytes((99, 13, 0, 1))}))
    assert photo.metadata.icc is None
    assert photo.warnings == (
        "the image: its colour space is of a kind that is not known; it is taken as sRGB.",
    )


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: png(scene_in("P3", "sRGB"), {b"cICP": bytes((9, 16, 0, 1))}), "PQ"),
        (lambda: png(scene_in("P3", "sRGB"), {b"cICP": bytes((9, 18, 0, 1))}), "HLG"),
        (lambda: avif(scene_in("P3", "sRGB"), 9, 16), "PQ"),
        (lambda: heic(scene_in("P3", "sRGB"), **nclx(12, 18)), "HLG"),
        (lambda: png(scene_in("P3", "sRGB"), {b"iCCP": b"x\0\0" + zlib.compress(hdr_profile(16))}), "PQ"),
        (lambda: with_exif(scene_in("P3", "sRGB"), "JPEG", b"", icc_profile=hdr_profile(18)), "HLG"),
    ],
)
def test_hdr_is_refused_with_a_sentence(make, named):
    with pytest.raises(ImageError, match=f"is an HDR image .*{named}.*convert it to SDR first"):
        read(make())


def test_narrow_range_is_refused():
    with pytest.raises(ImageError, match="narrow range"):
        read(png(scene_in("P3", "sRGB"), {b"cICP": bytes((9, 1, 0, 0))}))


# ----------------------------------------------------------------------------------------------- out of gamut


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "colour", [colour_of_cicp(12, 13), ADOBE_RGB, colour_of_cicp(9, 1), colour_of_cicp(1, 8)]
)
def test_all_colours_survive_networks_that_change_nothing(dtype, colour):
    peak = np.iinfo(dtype).max
    levels = np.linspace(0, peak, 11).astype(dtype)
    pixels = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(11, 121, 3)
    photo = Photo(pixels, metadata=Metadata(icc=colour.profile(3)))
    signal = to_srgb_signal(photo)
    assert (signal.min(), signal.max()) == pytest.approx((-1, 1), abs=1e-6)
    np.testing.assert_array_equal(from_srgb_signal(signal, photo), pixels)


def test_a_red_of_p3_stays_one_and_a_change_is_the_same_change_there():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[2:] = (120, 130, 140)
    photo = Photo(pixels, metadata=Metadata(icc=colour_of_cicp(12, 13).profile(3)))
    signal = to_srgb_signal(photo)
    np.testing.assert_allclose(signal[0, :, 0, 0], (1, -1, -1), atol=1e-5)  # sRGB's red
    assert (from_srgb_signal(signal, photo)[0, 0] == (255, 0, 0)).all()
    clipped = as_srgb(photo)
    assert (clipped.pixels[0, 0] == (255, 0, 0)).all(), "control: a red of sRGB, had it been converted"
    assert clipped.metadata.icc is None
    brighter = from_srgb_signal(np.minimum(signal + 0.1, 1), photo)
    expected = as_srgb(photo).pixels[3, 3] + 0.05 * 255
    assert np.abs(as_srgb(Photo(brighter, metadata=photo.metadata)).pixels[3, 3] - expected).max() <= 1


def test_restored_in_srgb_and_written_in_its_own_space(random_pipeline, tmp_path, monkeypatch):
    pipeline = random_pipeline()
    given = []
    monkeypatch.setattr(pipeline, "restore_signal", lambda x, **_: given.append(x) or x.copy())
    (tmp_path / "in.png").write_bytes(NAMED["PNG cICP"]())
    restore(tmp_path / "in.png", pipeline=pipeline)
    result = read(tmp_path / "in.restored.png")
    np.testing.assert_array_equal(result.pixels, scene_in("P3", "sRGB"))
    assert result.metadata.icc == colour_of_cicp(12, 13).profile(3)
    assert np.abs(middles(np.moveaxis(given[0][0], 0, -1)) / 2 + 0.5 - SCENE).max() < 0.005


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_light_is_amplified_in_its_own_space(dtype):
    pixels = scene_in("sRGB", "linear", dtype)
    photo = Photo(pixels, metadata=Metadata(icc=colour_of_cicp(1, 8).profile(3)))
    bright = brightened(photo, 3.0).pixels
    assert np.abs(bright - np.minimum(pixels * 3.0, np.iinfo(dtype).max)).max() <= 3


def test_amplifying_light_takes_little_more_memory_than_the_result():
    photo = Photo(np.zeros((1500, 1000, 3), np.uint8))
    tracemalloc.start()
    try:
        amplified(photo, 2.0)
        assert tracemalloc.get_traced_memory()[1] < 2 * photo.pixels.nbytes
    finally:
        tracemalloc.stop()


# --------------------------------------------------------------------------------------------------- profiles


def test_profiles_of_srgb_are_taken_for_it_at_no_cost():
    pixels = scene_in("sRGB", "sRGB")
    profiles = (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        rgb_profile("own", SRGB[:3], SRGB[3], SRGB_CURVE),
        rgb_profile("gamma", SRGB[:3], SRGB[3], (2.2,)),
    )
    for profile in profiles:
        photo = Photo(pixels, metadata=Metadata(icc=profile))
        assert own_space(photo) is None
        np.testing.assert_array_equal(to_srgb_signal(photo), to_signal(pixels))
    assert own_space(Photo(pixels[..., :1], metadata=Metadata(icc=grey_profile("g", SRGB_CURVE)))) is None
    assert own_space(Photo(pixels, metadata=Metadata(icc=ADOBE_RGB.profile(3)))) is not None


def curve_tag(kind, *given):
    fixed = b"".join(struct.pack(">i", round(n * 65536)) for n in given)
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed


TAGS = {
    "identity": b"curv" + bytes(8),
    "gamma": b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x0180),
    "table": b"curv\0\0\0\0"
    + struct.pack(">I", 200)
    + ((np.linspace(0, 1, 200) ** 1.8) * 65535).astype(">u2").tobytes(),
    "para 0": curve_tag(0, 1.8),
    "para 1": curve_tag(1, 2.0, 0.9, 0.1),
    "para 2": curve_tag(2, 2.0, 0.9, 0.05, 0.02),
    "para 3": curve_tag(3, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081),
    "para 4": curve_tag(4, 2.4, 0.94, 0.05, 0.08, 0.04, 0.001, 0.001),
}


@pytest.mark.parametrize("kind", TAGS)
def test_every_kind_of_curve_as_lcms_reads_it(kind):
    tags = {b"chad": b"", **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), TAGS[kind])}
    whole = colour_of_cicp(12, 13).profile(3)
    columns = {name: icc_module._tags(whole)[name] for name in (b"rXYZ", b"gXYZ", b"bXYZ")}
    del tags[b"chad"]
    profile = icc_module._profile("test", b"RGB ", columns | tags)
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    image = Image.fromarray(grid)
    image.info["icc_profile"] = profile
    ours = np.rint(colour_space(profile).srgb(grid) * 255)
    assert np.abs(ours - seen(image)).max() <= 3


def test_damaged_profiles_are_no_space_and_no_error():
    whole = colour_of_cicp(12, 13).profile(3)
    assert colour_space(whole) is not None, "control"
    for length in range(len(whole)):
        assert colour_space(whole[:length]) is None
    rng = np.random.default_rng(0)
    grid = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    for _ in range(150):
        broken = bytearray(whole)
        for at in rng.integers(128, len(whole), 3):
            broken[at] = rng.integers(0, 256)
        space = colour_space(bytes(broken))
        if space is not None:
            srgb = space.srgb(grid)
            assert np.isfinite(srgb).all()
            assert np.isfinite(space.samples(srgb)).all()


def test_a_profile_of_tables_is_kept_and_the_numbers_are_left():
    profile = icc_module._profile("tables", b"RGB ", {b"A2B0": b"mft1"})
    photo = Photo(scene_in("P3", "sRGB"), metadata=Metadata(icc=profile))
    assert own_space(photo) is None
    np.testing.assert_array_equal(to_srgb_signal(photo), to_signal(photo.pixels))


def test_colour_without_anything_said():
    assert Colour().profile(3) is None
    assert Colour(curve=(1.0,), name="x").profile(1)[16:20] == b"GRAY"


@pytest.mark.parametrize(("format", "channels"), [("bmp", 3), ("bmp", 1), ("webp", 1)])
def test_a_format_without_a_place_for_the_profile_gets_srgb(tmp_path, format, channels):
    light = np.linspace(0.1, 0.9, 64).reshape(8, 8, 1).repeat(channels, axis=2)
    colour = colour_of_cicp(1, 8)
    photo = Photo(np.rint(light * 65535).astype(np.uint16), metadata=Metadata(icc=colour.profile(channels)))
    (said,) = write(photo, tmp_path / f"a.{format}")
    assert said.endswith("cannot hold the photograph's colour profile (its colours become sRGB's).")
    with Image.open(tmp_path / f"a.{format}") as image:
        found = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(8, 8, channels)
    assert np.abs(found / 255 - linear_to_srgb(light)).max() < (0.02 if format == "webp" else 0.003)
