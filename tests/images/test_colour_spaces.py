"""A file's colours stay what they are, however it names its colour space, and networks see them in sRGB's numbers."""

import io
import struct
import zlib
from functools import partial

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms
from tiny_tiff import long, tiny_tiff

from ucdir.errors import ImageError
from ucdir.images import Metadata, Photo, encode_photo, read, write
from ucdir.images import icc as icc_module
from ucdir.images.camera import SRGB_TO_XYZ, linear_to_srgb, srgb_to_linear
from ucdir.images.colour import ADOBE_RGB, SRGB, Colour, colour_of_cicp
from ucdir.images.icc import SRGB_CURVE, colour_space, grey_profile, rgb_profile
from ucdir.images.pixels import to_signal
from ucdir.images.srgb import as_srgb, from_srgb_signal, own_space, to_srgb_signal
from ucdir.workflows.restore import brightened, restore

# Published matrices (B. Lindbloom; ITU-R BT.2020; SMPTE EG 432-1), not computed by this package.
TO_XYZ = {
    "P3": [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0, 0.0451134, 1.0439444]],
    "Adobe": [
        [0.5767309, 0.185554, 0.1881852],
        [0.2973769, 0.6273491, 0.0752741],
        [0.0270343, 0.0706872, 0.9911085],
    ],
    "BT.2020": [
        [0.636958, 0.1446169, 0.168881],
        [0.2627002, 0.6779981, 0.0593017],
        [0, 0.0280727, 1.0609851],
    ],
    "sRGB": SRGB_TO_XYZ,
}
SCENE = np.array(
    [[0.2, 0.5, 0.7], [0.7, 0.3, 0.2], [0.4, 0.6, 0.3], [0.5, 0.5, 0.5], [0.9, 0.9, 0.85], [0.1, 0.12, 0.1]]
)
"""Six colours, in sRGB."""


def bt709(light):
    return np.where(light < 0.018, 4.5 * light, 1.099 * np.maximum(light, 0.018) ** 0.45 - 0.099)


CURVES = {
    "sRGB": linear_to_srgb,
    "2.2": lambda light: light ** (1 / 2.2),
    "Adobe": lambda light: light ** (256 / 563),
    "1.8": lambda light: light ** (1 / 1.8),
    "linear": lambda light: light,
    "BT.709": bt709,
}


def scene_in(space, curve, dtype=np.uint8):
    """The six colours in a space, [48,96,3]: two rows of three squares."""
    light = srgb_to_linear(SCENE) @ (np.linalg.inv(TO_XYZ[space]) @ SRGB_TO_XYZ).T
    samples = np.rint(CURVES[curve](np.clip(light, 0, 1)) * np.iinfo(dtype).max).astype(dtype)
    return samples.reshape(2, 3, 3).repeat(24, axis=0).repeat(32, axis=1)


def middles(pixels):
    return pixels.reshape(2, 24, 3, 32, -1)[:, 12, :, 16].reshape(6, -1)


def png(pixels, chunks):
    """A PNG of 8 or 16 bits with further chunks before its pixels."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, bits, {1: 0, 3: 2}[channels], 0, 0, 0),
        **chunks,
        b"IDAT": zlib.compress(np.insert(rows, 0, 0, axis=1).tobytes()),
        b"IEND": b"",
    }
    made = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def gama(value):
    return {b"gAMA": struct.pack(">I", round(value * 100_000))}


def chrm(points):
    *primaries, white = points
    return {
        b"cHRM": struct.pack(">8I", *(round(n * 100_000) for point in (white, *primaries) for n in point))
    }


P3_POINTS = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329))


def avif(pixels, primaries, transfer):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "AVIF", quality=100, subsampling="4:4:4")
    data = bytearray(file.getvalue())
    at = data.index(b"colrnclx") + 8
    struct.pack_into(">HH", data, at, primaries, transfer)
    return bytes(data)


def heic(pixels, mode="RGB", **coded):
    file = io.BytesIO()
    size = (pixels.shape[1], pixels.shape[0])
    pillow_heif.encode(
        mode, size, np.ascontiguousarray(pixels).tobytes(), file, quality=-1, chroma=444, **coded
    )
    return file.getvalue()


def nclx(primaries, transfer):
    return {
        "color_primaries": primaries,
        "transfer_characteristics": transfer,
        "matrix_coefficients": 6,
        "full_range_flag": 1,
    }


def exif_of_adobe_rgb(index=b"R03\0"):
    """EXIF as cameras write it: ColorSpace "uncalibrated" and an interoperability IFD."""
    exif = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x8769, 4, 1, 26, 0)
    exif += struct.pack("<HHHIHHHHIII", 2, 0xA001, 3, 1, 65535, 0, 0xA005, 4, 1, 56, 0)
    return exif + struct.pack("<HHHI4sI", 1, 1, 2, 4, index, 0)


def with_exif(pixels, format, exif, **settings):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, exif=exif, **settings)
    return file.getvalue()


def tiff_with_adobe_rgb():
    """A TIFF file whose own IFDs say it."""
    pixels = scene_in("Adobe", "Adobe")
    make = partial(tiny_tiff, 96, 48, 2, (8, 8, 8), pixels.tobytes())
    start = len(make(extra={0x8769: long(0)}))
    inner = struct.pack("<HHHIHHHHIII", 2, 0xA001, 3, 1, 65535, 0, 0xA005, 4, 1, start + 30, 0)
    interoperability = struct.pack("<HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    return make(extra={0x8769: long(start)}) + inner + interoperability


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


def seen(image):
    """What a program that knows colour spaces shows of an image of Pillow: sRGB, uint8, by its profile and lcms."""
    profile = image.info.get("icc_profile")
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if profile is None:
        return np.asarray(image.convert("RGB")).astype(int)
    srgb = ImageCms.createProfile("sRGB")
    return np.asarray(
        ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, 1, "RGB")
    ).astype(int)


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


def hdr_profile(transfer):
    tag = {b"cicp": b"cicp\0\0\0\0" + bytes((9, transfer, 0, 1))}
    return icc_module._profile("HDR", b"RGB ", tag)


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
