"""EXIF, profiles and XMP come through a reading as they should be kept."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from ucdir import limits
from ucdir.errors import ImageError
from ucdir.images import read, readers, write
from ucdir.images.decode import DecodeError, decode_with_vips, open_with_vips
from ucdir.images.density import Density
from ucdir.images.exif import clean_exif, orientation_of
from ucdir.images.icc import icc_channels
from ucdir.images.jpeg import jpeg_header
from ucdir.images.png import png_chunk, text_chunk

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
        assert clean_exif(block(order, value), 6, 4) == block(order, 1)
        assert clean_exif(b"Exif\0\0" + block(order, value), 6, 4) == block(order, 1)


def test_what_a_tiff_says_of_its_photograph_is_kept(tmp_path):
    said = {269: "Album 7", 270: "A bridge", 285: "Page 3", 315: "Ada", 316: "scanner"}
    photo = saved(tmp_path, RGB, "TIFF", tiffinfo={**said, 297: (2, 9)})
    kept = Image.Exif()
    kept.load(photo.metadata.exif)
    assert {tag: kept.get(tag) for tag in said} == said
    assert 297 not in kept, "its number among pages, which the result does not have"


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stale_thumbnail_is_unlinked_and_cut_off(order):
    cleaned = clean_exif(block(order, 6, b"\xff\xd8 a face that was cropped away \xff\xd9"), 6, 4)
    assert b"cropped" not in cleaned
    kept = Image.Exif()
    kept.load(cleaned)
    assert kept.get_ifd(1) == {}
    assert (kept[0x010F], kept[0x0112]) == ("Abc", 1)


@pytest.mark.parametrize(
    "data", [b"", b"II", b"II*\0", b"Exif\0\0", b"II*\0\xff\xff\xff\xff", b"XX*\0\x08\0\0\0\0\0"]
)
def test_what_is_no_exif_is_none(data):
    assert clean_exif(data, 6, 4) is None


def test_no_bytes_break_the_cleaning():
    data = block("<", 6, b"thumbnail")
    rng = np.random.default_rng(0)
    for _ in range(3000):
        broken = bytearray(data[: rng.integers(4, len(data) + 1)])
        for place in rng.integers(0, len(broken), 6):
            broken[place] = rng.integers(0, 256)
        cleaned = clean_exif(bytes(broken), 6, 4, 6)
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


def test_exif_in_a_text_chunk_of_png_is_used(tmp_path):
    data = b"Exif\0\0" + block("<", 6)
    text = f"\nexif\n      {len(data)}\n{data.hex()}\n"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG", pnginfo=info)
    (tmp_path / "photo").write_bytes(file.getvalue())
    photo = read(tmp_path / "photo")
    assert photo.pixels.shape == (6, 4, 3)
    assert photo.metadata.exif == block("<", 1)


@pytest.mark.parametrize(
    ("size", "said"), [(0.9, ()), (1.1, ("the image: its further texts are left out.",))]
)
def test_texts_of_png_are_kept_up_to_the_limit_and_else_said(monkeypatch, size, said):
    monkeypatch.setattr(readers, "MAX_METADATA_BYTES", 10_000)
    texts = (("Author", "A. Nother"), ("workflow", "{}" * int(size * 5_000)))
    photo = read(png(b"".join(text_chunk(*text) for text in texts)))
    assert photo.metadata.texts == (texts if size < 1 else texts[:1])
    assert photo.warnings == said


@pytest.mark.parametrize("keyword", ["XML:com.adobe.xmp", "Raw profile type xmp"])
def test_xmp_of_png_may_be_compressed_or_a_raw_profile(keyword):
    xmp = b"<a xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='6'/>"
    info = PngImagePlugin.PngInfo()
    if keyword.startswith("Raw"):
        info.add_text(keyword, f"\nxmp\n{len(xmp):8}\n{xmp.hex()}\n")
    else:
        info.add_itxt(keyword, xmp.decode(), zip=True)
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG", pnginfo=info)
    photo = read(file.getvalue())
    assert photo.metadata.xmp == xmp.replace(b"6", b"1")
    assert photo.metadata.texts == ()
    assert photo.pixels.shape == (6, 4, 3)


# ------------------------------------------------------------------------------------------------------------- density


def density(block: Image.Exif | None = None, **settings: object):
    return read(jpeg(**settings, **({"exif": block} if block else {}))).metadata.density


def jpeg(**settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG", **settings)
    return file.getvalue()


def resolution(x: float, y: float, unit: int = 2, orientation: int = 1) -> Image.Exif:
    block = Image.Exif()
    block.update({282: x, 283: y, 296: unit, 274: orientation})
    return block


def test_the_density_of_jfif_counts_before_that_of_exif():
    assert density(resolution(200, 200), dpi=(300, 300)) == (300, 300, True)
    assert density(resolution(200, 100)) == (200, 100, True)
    assert density(resolution(100, 50, unit=3)) == (254, 127, True)


def test_what_says_nothing_about_density_is_none():
    assert density() is None
    assert density(resolution(72, 72)) is None, "EXIF's value for unknown"
    assert density(resolution(1, 1, unit=1)) is None
    assert density(resolution(0, 0)) is None
    assert density(resolution(100_000, 100_000)) is None
    assert density(resolution(100, 1, unit=1)) is None
    assert density(resolution(2, 1, unit=1)) == (2, 1, False)


def test_a_unit_that_is_none_is_neither_damage_nor_kept(tmp_path):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "TIFF", tiffinfo={282: 3.0, 283: 3.0, 296: 80, 271: "Maker"})
    photo = read(file.getvalue())
    assert photo.metadata.density is None
    write(photo, tmp_path / "photo.tif")
    with Image.open(tmp_path / "photo.tif") as image:
        assert (image.tag_v2[271], 296 in image.tag_v2) == ("Maker", False)


def test_density_is_turned_with_the_image():
    assert density(resolution(200, 100, orientation=6)) == (100, 200, True)
    metadata = read(jpeg(exif=resolution(200, 100, orientation=6), dpi=(40, 30))).metadata
    assert metadata.density == (30, 40, True)
    block = Image.Exif()
    block.load(metadata.exif)
    assert (block[282], block[283]) == (100, 200)


@pytest.mark.parametrize(
    ("density", "jfif"),
    [
        (Density(299.9994, 299.9994), (1, 300, 300)),
        (Density(118 * 2.54, 118 * 2.54), (2, 118, 118)),
        (Density(1, 2, absolute=False), (0, 1, 2)),
        (Density(1.5, 1, absolute=False), (0, 3, 2)),
    ],
)
def test_jpeg_takes_the_unit_that_is_nearest(density, jfif):
    assert struct.unpack(">BHH", density.jfif()) == jfif


@pytest.mark.parametrize("value", [72, 96, 300, 600, 1200, 2400])
def test_whole_densities_survive_the_metres_of_png_and_bmp(value):
    stored = Density(value, value)
    assert Density.of_phys(stored.phys()) == (value, value, True)
    bmp = b"BM" + struct.pack("<12xI20x8s8x", 40, stored.bmp())
    assert Density.of_bmp(bmp) == (value, value, True)


# ---------------------------------------------------------------------------------------------- sizes and thumbnails


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_and_xmp_tell_the_size_of_the_upright_image(orientation):
    block = Image.Exif()
    block.update({0x0100: 999, 0x0101: 998, 0x0112: orientation})
    block.get_ifd(0x8769).update({0xA002: 997, 0xA003: 70_000})
    xmp = (
        b"<a xmlns:exif='http://ns.adobe.com/exif/1.0/' xmlns:tiff='http://ns.adobe.com/tiff/1.0/' "
        b"exif:PixelXDimension='9' tiff:ImageLength='9' tiff:Orientation='7'/>"
    )
    photo = read(jpeg(exif=block, xmp=xmp))
    height, width = (4, 6) if orientation < 5 else (6, 4)
    assert photo.pixels.shape == (height, width, 3)
    found = Image.Exif()
    found.load(photo.metadata.exif)
    assert (found[0x0100], found[0x0101], found[0x0112]) == (width, height, 1)
    assert (found.get_ifd(0x8769)[0xA002], found.get_ifd(0x8769)[0xA003]) == (width, height)
    sizes = f"exif:PixelXDimension='{width}' tiff:ImageLength='{height}' tiff:Orientation='1'"
    assert sizes.encode() in photo.metadata.xmp


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_tells_the_width_of_an_image_that_is_wider_than_a_short_number_holds(order):
    width = struct.pack(order + "HHIHH", 0xA002, 3, 1, 4000, 0)
    pointer = struct.pack(order + "HHII", 0x8769, 4, 1, 26)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    data = head + pointer + bytes(4) + struct.pack(order + "H", 1) + width + bytes(4)
    found = Image.Exif()
    for wide in (4000, 65_535, 65_536, 70_000):
        cleaned = clean_exif(data, wide, 10)
        assert len(cleaned) == len(data)
        found.load(cleaned)
        assert found.get_ifd(0x8769)[0xA002] == wide
    assert clean_exif(data, 4000, 10) == data


@pytest.mark.parametrize(
    ("orientation", "size", "left_out"),
    [
        (1, (6, 4), set()),
        (3, (6, 4), {0x9214}),
        (6, (6, 4), {0x9214}),
        (1, (12, 8), {0x9214, 0xA20E, 0xA20F, 0xA210}),
    ],
)
def test_places_in_the_image_and_on_the_sensor_are_left_out_where_they_no_longer_hold(
    orientation, size, left_out
):
    block = Image.Exif()
    block[0x0112] = orientation
    sub = {
        0x829A: 0.5,
        0x9214: (1, 2),
        0xA20E: 100.0,
        0xA20F: 50.0,
        0xA210: 3,
        0xA002: size[0],
        0xA003: size[1],
    }
    block.get_ifd(0x8769).update(sub)
    found = Image.Exif()
    found.load(read(jpeg(exif=block)).metadata.exif)
    kept = found.get_ifd(0x8769)
    assert sub.keys() - kept.keys() == left_out
    assert kept[0x829A] == 0.5
    if 0xA20E in kept:
        assert (kept[0xA20E], kept[0xA20F]) == ((50, 100) if orientation == 6 else (100, 50))


def test_a_thumbnail_before_other_data_is_blanked():
    data = block("<", 6, b"\xff\xd8 a face \xff\xd9") + b"a maker's note"
    cleaned = clean_exif(data, 6, 4)
    assert b"face" not in cleaned
    assert cleaned.endswith(b"a maker's note")
    assert len(cleaned) == len(data)


# ----------------------------------------------------------------------------------------- what else a JPEG file holds

GAIN_MAP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def two_pictures(**settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "MPO", save_all=True, append_images=[Image.fromarray(RGB)], **settings)
    return file.getvalue()


def iso_gain_map() -> bytes:
    body = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)
    return struct.pack(">BBH", 0xFF, 0xE2, len(body) + 2) + body


def c2pa() -> bytes:
    body = b"JP\0\1\0\0\0\1\0\0\0\x40jumb\0\0\0\x1ejumdc2pa"
    return struct.pack(">BBH", 0xFF, 0xEB, len(body) + 2) + body


def png(chunk: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG")
    return file.getvalue()[:33] + chunk + file.getvalue()[33:]


PATH = b"8BIM" + struct.pack(">HHI", 2000, 0, 26) + bytes(26)


def tiff(tag: int, kind: int, value: object) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[tag], info.tagtype[tag] = value, kind
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "TIFF", tiffinfo=info)
    return file.getvalue()


VIDEO = b"\0\0\0\x18ftypmp42" + bytes(2048)
LOST = "bytes behind its image, perhaps a video or another picture, are left out."


def resources(body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, 0xED, len(body) + 16) + b"Photoshop 3.0\0" + body


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (jpeg(), ()),
        (jpeg(extra=resources(b"8BIM" + struct.pack(">HHI", 1005, 0, 16) + bytes(16))), ()),
        (jpeg(extra=resources(PATH)), ("its clipping paths are left out.",)),
        (tiff(34377, 7, PATH), ("its clipping paths are left out.",)),
        (tiff(33922, 12, (0.0,) * 6), ("its georeference is left out.",)),
        (tiff(37724, 7, b"Adobe Photoshop Document Data Block\0MIB8ryaL"), ("its layers are left out.",)),
        (tiff(37724, 7, b"Adobe Photoshop Document Data Block\0MIB8ksML"), ()),
        (two_pictures(), ("has 2 pictures; only the first is restored.",)),
        (two_pictures(xmp=GAIN_MAP), ("its gain map is left out.",)),
        (jpeg(extra=iso_gain_map()), ("its gain map is left out.",)),
        (jpeg(xmp=GAIN_MAP) + b"MotionPhoto_Data", ("its motion video and gain map are left out.",)),
        (jpeg() + VIDEO, (f"the {len(VIDEO):,} {LOST}",)),
        (jpeg(progressive=True) + VIDEO, (f"the {len(VIDEO):,} {LOST}",)),
        (jpeg() + bytes(5000), ()),
        (jpeg() + b"\r\n" * 5000, ()),
        (jpeg() + VIDEO[:1000], ()),
        (jpeg(xmp=GAIN_MAP) + VIDEO, ("its gain map is left out.",)),
        (two_pictures() + VIDEO, ("has 2 pictures; only the first is restored.",)),
        (jpeg(extra=c2pa()), ("its content credentials are left out.",)),
        (png(png_chunk(b"caBX", b"manifest")), ("its content credentials are left out.",)),
        (jpeg(xmp=b"<a"), ("its XMP data are damaged and are left out.",)),
    ],
)
def test_what_else_a_file_holds_is_said(tmp_path, data, said):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    photo = read(path)
    assert photo.warnings == tuple(f"{path}: {sentence}" for sentence in said)
    write(photo, tmp_path / "result.jpg")
    assert read(tmp_path / "result.jpg").warnings == ()


# ------------------------------------------------------------------------------------ what decoders only warn of


def changed(data: bytes, at: int, byte: int) -> bytes:
    return data[:at] + bytes([byte]) + data[at + 1 :]


END_OF_SCAN_HEADER = jpeg().index(b"\xff\xda") + 2 + 12


@pytest.mark.parametrize(
    ("at", "byte"),
    [
        pytest.param(11, 2, id="JFIF 2.01"),
        pytest.param(11, 0, id="JFIF 0.01"),
        pytest.param(END_OF_SCAN_HEADER - 2, 0, id="some coefficients, as in a progressive file"),
        pytest.param(END_OF_SCAN_HEADER - 1, 0x11, id="some bits, as in a progressive file"),
    ],
)
def test_what_a_decoder_warns_of_though_no_pixel_is_lost_is_no_damage(at, byte):
    data = changed(jpeg(), at, byte)
    with pytest.raises(DecodeError, match=r"JFIF|SOS"):
        decode_with_vips(open_with_vips("JPEG", data))  # control
    np.testing.assert_array_equal(read(data).pixels, read(jpeg()).pixels)


def test_what_follows_the_image_is_not_taken_for_scans():
    video = b"\xff\xda\0\x08" * (limits.MAX_JPEG_SCANS + 5)
    np.testing.assert_array_equal(read(jpeg() + video).pixels, read(jpeg()).pixels)
    progressive = jpeg(progressive=True)
    header = jpeg_header(progressive)
    assert 1 < header.scans == progressive.count(b"\xff\xda")


def test_exif_goes_on_in_a_second_segment():
    block = Image.Exif()
    block[0x010E] = "description " * 10
    whole = block.tobytes()
    parts = [whole[:60], b"Exif\0\0" + whole[60:]]
    extra = b"".join(struct.pack(">BBH", 0xFF, 0xE1, len(part) + 2) + part for part in parts)
    found = Image.Exif()
    found.load(read(jpeg(extra=extra)).metadata.exif)
    assert found[0x010E] == "description " * 10


def test_lost_pixels_are_still_damage():
    for broken in (jpeg()[:-20], changed(jpeg(), 11, 2)[:-20]):
        with pytest.raises(ImageError, match="damaged or incomplete"):
            read(broken)
