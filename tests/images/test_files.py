"""docs/files.md: every cell of its tables is tried, with files that others made and results that others read."""

import io
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
from colour_files import bmp_with_profile
from PIL import Image, ImageCms, PngImagePlugin

from ucdir.errors import OutputError
from ucdir.images import Metadata, Photo, read, write
from ucdir.images.camera import Camera
from ucdir.images.density import Density

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "files.md"
SUFFIX = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WebP": ".webp",
    "AVIF": ".avif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "DNG": ".dng",
}
CAMERA = Camera(np.array([2, 1, 1.5], np.float32), np.eye(3), np.array([2, 1, 1.5], np.float32))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:n="urn:n" n:note="kept"'
    ' tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>'
)
IPTC = b"\x1c\x02\x78\0\x06a town\x1c\x02\x74\0\x07(c) me!"
HIGH = np.zeros((6, 10, 3), np.uint8)


def table(heading: str) -> Iterator[tuple[str, str, str]]:
    """Row, column and cell of the table below a heading."""
    section = DOCUMENT.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\|.*\|$", section, re.M)
    ]
    for row, *cells in lines[2:]:
        for column, cell in zip(lines[0][1:], cells, strict=True):
            yield row, column, cell


# ------------------------------------------------------------------------------------------------- what is written


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def exif(**ifd0: int) -> bytes:
    block = Image.Exif()
    block[0x010F] = "Maker"
    for tag, value in ifd0.items():
        block[int(tag[1:])] = value
    block.get_ifd(0x8769)[0x9003] = "2020:02:03 04:05:06"
    return block.tobytes().removeprefix(b"Exif\0\0")


def written(folder: Path, format: str, channels: int = 3, dtype: type = np.uint8, **metadata: object):
    """A result, and what was said."""
    path = folder / f"photo{SUFFIX[format]}"
    pixels = np.zeros((6, 10, channels), dtype)
    pixels[:3] = np.iinfo(dtype).max // 3
    return path, " ".join(write(photo_for(format, pixels, metadata=Metadata(**metadata)), path, force=True))


def photo_for(format: str, pixels, alpha=None, **more: object) -> Photo:
    """DNG is for RAW files alone."""
    return Photo(pixels, alpha, camera=CAMERA if format == "DNG" else None, **more)


def outcome(kept: bool, said: str, name: str) -> str:
    """In the words of the table."""
    assert kept != (name in said), f"kept: {kept}, said: {said!r}"
    return "kept" if kept else "said"


def write_exif(folder, format):
    path, said = written(folder, format, exif=exif())
    found = opened(path).getexif()
    kept = found.get(0x010F) == "Maker" and found.get_ifd(0x8769).get(0x9003) == "2020:02:03 04:05:06"
    return outcome(kept, said, "EXIF")


def xmp_of(path: Path) -> bytes:
    with Image.open(path) as image:
        found = image.info.get("xmp", image.tag_v2.get(700, b"") if image.format == "TIFF" else b"")
    return found if isinstance(found, bytes) else found.encode()


def write_xmp(folder, format):
    path, said = written(folder, format, xmp=XMP.format(1).encode())
    return outcome(b'n:note="kept"' in xmp_of(path), said, "XMP")


def iptc_of(path: Path) -> bytes | None:
    """As Pillow finds it, which looks for Photoshop's block in JPEG and the tag in TIFF."""
    with Image.open(path) as image:
        if image.format == "TIFF":
            return image.tag_v2.get(33723)
        return image.info.get("photoshop", {}).get(0x0404)


def write_iptc(folder, format):
    path, said = written(folder, format, iptc=IPTC)
    if iptc_of(path) == IPTC:
        assert not said
        return "kept"
    properties = re.sub(rb"</?rdf:(Alt|li)[^>]*>", b"", xmp_of(path))
    if b"<dc:description>a town</dc:description>" in properties:
        assert b"<dc:rights>(c) me!</dc:rights>" in properties
        assert not said
        return "as XMP"
    return outcome(False, said, "IPTC")


def write_profile(folder, format, channels=3, profile=SRGB):
    path, said = written(folder, format, channels, icc=profile)
    return outcome(opened(path).info.get("icc_profile") == profile, said, "colour profile")


def density_of(path: Path) -> tuple[float, ...] | None:
    """Unit (1 none, 2 inch, 3 centimetre, 0 metre) and values in the format's own place, from its bytes."""
    data = path.read_bytes()
    if path.suffix == ".jpg":
        unit, x, y = struct.unpack_from(">BHH", data, 13)
        return (unit + 1, x, y) if data[6:10] == b"JFIF" and (unit or x != y) else None
    if path.suffix == ".png":
        at = data.find(b"pHYs")
        if at < 0:
            return None
        x, y, unit = struct.unpack_from(">IIB", data, at + 4)
        return ((1, 0)[unit], x, y)
    if path.suffix == ".bmp":
        x, y = struct.unpack_from("<ii", data, 38)
        return (0, x, y) if x else None
    with Image.open(path) as image:
        tags = image.tag_v2 if image.format == "TIFF" else image.getexif()
        return (tags[296], float(tags[282]), float(tags[283])) if 282 in tags else None


def write_density(folder, format):
    assert density_of(written(folder, format)[0]) is None, "made up"
    path, said = written(folder, format, density=Density(300, 400))
    assert not said
    found = density_of(path)
    assert found in [(2, 300, 400), (0, 11811, 15748)]
    return "in EXIF" if format in ("WebP", "AVIF") else "kept"


def write_proportion(folder, format):
    path, said = written(folder, format, density=Density(1, 2, absolute=False))
    kept = density_of(path) == (1, 1, 2)
    return "in EXIF" if kept and format in ("WebP", "AVIF") else outcome(kept, said, "density")


def write_texts(folder, format):
    texts = (("Comment", "a cömment"), ("Author", "Ἀ. Nother"))
    path, said = written(folder, format, texts=texts)
    data = path.read_bytes()
    if format == "PNG":
        with Image.open(path) as image:
            return outcome(dict(texts).items() <= image.text.items(), said, "comments")
    kept = all(
        struct.pack(">BBH", 0xFF, 0xFE, len(c) + 2) + c in data
        for c in ("a cömment".encode(), "Author: Ἀ. Nother".encode())
    )
    return outcome(kept, said, "comments")


def write_transparency(folder, format):
    alpha = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4
    path = folder / f"photo{SUFFIX[format]}"
    try:
        write(photo_for(format, HIGH, alpha), path)
    except OutputError:
        return "refused"
    found = np.asarray(opened(path).convert("RGBA"))[..., 3]
    return "kept" if np.abs(found.astype(int) - alpha).max() < 8 else "lost"


def write_sixteen(folder, format):
    path, _ = written(folder, format, dtype=np.uint16)
    if format == "TIFF":
        return "kept" if tifffile.imread(path)[0, 0, 0] == 21845 else "lost"
    if format == "DNG":
        with tifffile.TiffFile(path) as file:  # light of sRGB 1/3
            return "kept" if abs(int(file.pages[0].pages[0].asarray()[0, 0, 1]) - 5953) < 9 else "lost"
    depth = path.read_bytes()[24] if format == "PNG" else 8
    return "kept" if depth == 16 else f"{depth} bits"


def write_grey(folder, format):
    path, _ = written(folder, format, 1)
    if format == "AVIF":  # Pillow gives colour for grey; the configuration says "monochrome"
        data = path.read_bytes()
        return "kept" if data[data.find(b"av1C") + 6] & 0x10 else "three"
    bands = len(opened(path).getbands())  # of a DNG, its preview's
    return {1: "kept", 3: "three"}[bands]


def write_exact(folder, format):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    path = folder / f"photo{SUFFIX[format]}"
    write(photo_for(format, pixels), path)
    return "kept" if format != "DNG" and np.array_equal(np.asarray(opened(path)), pixels) else "no"


def write_times(folder, format):
    source, result = folder / "source", folder / f"photo{SUFFIX[format]}"
    source.write_bytes(b"")
    os.utime(source, ns=(10**18, 10**18 + 1000))
    write(photo_for(format, HIGH), result, times_of=source)
    return "kept" if result.stat().st_mtime_ns == 10**18 + 1000 else "lost"


WRITTEN: dict[str, Callable[[Path, str], str]] = {
    "EXIF": write_exif,
    "XMP": write_xmp,
    "IPTC": write_iptc,
    "colour profile": write_profile,
    "colour profile of grey": lambda folder, format: write_profile(folder, format, 1, GREY),
    "density": write_density,
    "proportion of pixels that are not square": write_proportion,
    "comments and texts": write_texts,
    "transparency": write_transparency,
    "16 bits": write_sixteen,
    "one channel of grey": write_grey,
    "8 bits, exactly": write_exact,
    "time of the file, with `--keep-times`": write_times,
}


@pytest.mark.parametrize(("row", "format", "cell"), [*table("What is written")])
def test_written(tmp_path, row, format, cell):
    assert WRITTEN[row](tmp_path, format) == cell


# ---------------------------------------------------------------------------------------------------- what is read


def saved(format: str, **settings: object) -> bytes:
    """A file of 10 x 6 pixels by Pillow, black but for a white corner."""
    image, file = Image.new("RGB", (10, 6)), io.BytesIO()
    image.paste((255, 255, 255), (0, 0, 5, 3))
    if format == "HEIC":
        if isinstance(block := settings.get("exif"), Image.Exif):
            settings["exif"] = block.tobytes()
        pillow_heif.encode("RGB", image.size, image.tobytes(), file, quality=-1, **settings)
        return file.getvalue()
    image.save(file, "WEBP" if format == "WebP" else format, **settings)
    return file.getvalue()


def dng(**settings: object) -> bytes:
    """A Bayer DNG of 60 x 36 pixels, black but for a white corner; tags as `extratags` of tifffile."""
    mosaic = np.full((36, 60), 512, np.uint16)
    mosaic[:18, :30] = 16000
    tags = [
        (33421, "H", 2, (2, 2), True), (33422, "B", 4, bytes((0, 1, 1, 2)), True),
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),
        (50714, "H", 1, 512, True), (50717, "I", 1, 16383, True), (50728, "2I", 3, (1, 1) * 3, True),
        (50721, "2i", 9, tuple(n for row in np.eye(3, dtype=int).tolist() for v in row for n in (v, 1)), True),
    ]  # fmt: skip
    file = io.BytesIO()
    settings["extratags"] = [*tags, *settings.pop("extratags", [])]
    tifffile.imwrite(file, mosaic, photometric=32803, metadata=None, software=False, **settings)
    return file.getvalue()


def tiff_tags(block: bytes, tag: int, kind: str = "B") -> dict[str, object]:
    return {"extratags": [(tag, kind, len(block), block, True)]}


def read_back(format: str, data: bytes) -> Photo:
    if format == "DNG":
        return read(data, exposure_ratio=1.0)
    return read(data)


def word(found: object, wanted: object, yes: str = "read") -> str:
    assert found in (wanted, None, ()), found
    return yes if found == wanted else "–"


def read_orientation(format):
    """Each of the eight."""
    if format in ("GIF", "BMP"):
        return "–"
    for value in range(1, 9):
        block = Image.Exif()
        block[0x0112] = value
        if format == "TIFF":
            data = saved(format, tiffinfo={274: value})
        elif format == "DNG":
            data = dng(extratags=[(274, "H", 1, value, True)])
        else:
            data = saved(format, exif=block)
        photo = read_back(format, data)
        assert seen(photo) == UPRIGHT[value]
        if photo.metadata.exif is not None:
            found = Image.Exif()
            found.load(photo.metadata.exif)
            assert found.get(0x0112, 1) == 1
    return "applied"


UPRIGHT = {
    **{
        1: ("wide", "top left"),
        2: ("wide", "top right"),
        3: ("wide", "bottom right"),
        4: ("wide", "bottom left"),
    },
    **{
        5: ("high", "top left"),
        6: ("high", "top right"),
        7: ("high", "bottom right"),
        8: ("high", "bottom left"),
    },
}
"""Orientation -> form of the upright image, and where the corner is that is stored first (the EXIF standard)."""


def seen(photo: Photo) -> tuple[str, str]:
    grey = photo.pixels.mean(axis=2)
    height, width = grey.shape
    assert 3 * max(height, width) == 5 * min(height, width)
    corners = {
        f"{row} {column}": grey[y, x]
        for row, y in (("top", 0), ("bottom", -1))
        for column, x in (("left", 0), ("right", -1))
    }
    return "wide" if width > height else "high", max(corners, key=lambda name: corners[name])


def with_xmp(format: str, xmp: bytes) -> bytes:
    if format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return saved(format, pnginfo=info)
    if format == "TIFF":
        return saved(format, tiffinfo={700: xmp})
    if format == "DNG":
        return dng(**tiff_tags(xmp, 700))
    if format == "GIF":
        data = saved(format)
        magic = b"\1" + bytes(range(255, -1, -1)) + b"\0"
        at = 13 + (3 << (data[10] & 7) + 1)
        return data[:at] + b"\x21\xff\x0bXMP DataXMP" + xmp + magic + data[at:]
    if format == "HEIC":  # its writer would turn the image itself
        plain = re.sub(rb'Orientation="."', b'Orientation="1"', xmp)
        return saved(format, xmp=plain).replace(plain, xmp)
    return saved(format, xmp=xmp)


def read_xmp_orientation(format):
    if format == "BMP":
        return "–"
    outcomes = set()
    for value in range(2, 9):
        photo = read_back(format, with_xmp(format, XMP.format(value).encode()))
        assert photo.metadata.xmp == XMP.format(1).encode()
        outcomes.add({UPRIGHT[value]: "applied", UPRIGHT[1]: "ignored"}[seen(photo)])
    return " and ".join(outcomes)


def read_exif(format):
    block = exif()
    if format in ("GIF", "BMP"):
        return "–"
    if format == "TIFF":
        image = Image.Exif()
        image.load(block)
        data = saved(format, exif=image)
    elif format == "DNG":
        data = dng(extratags=[(271, "s", 0, "Maker", True)])
    else:
        data = saved(format, exif=b"Exif\0\0" + block)
    found = Image.Exif()
    found.load(read_back(format, data).metadata.exif)
    if format != "DNG":
        assert found.get_ifd(0x8769)[0x9003] == "2020:02:03 04:05:06"
    return word(found.get(0x010F), "Maker")


def read_xmp(format):
    if format == "BMP":
        return "–"
    return word(
        read_back(format, with_xmp(format, XMP.format(1).encode())).metadata.xmp, XMP.format(1).encode()
    )


def photoshop(iptc: bytes) -> bytes:
    """As Photoshop has it: with a resource of another kind before it."""
    other = b"8BIM\x04\x25\3abc" + struct.pack(">I", 3) + b"xyz\0"
    return other + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc


def read_iptc(format):
    if format == "JPEG":
        body = b"Photoshop 3.0\0" + photoshop(IPTC)
        data = saved(format, extra=struct.pack(">BBH", 0xFF, 0xED, len(body) + 2) + body)
    elif format == "PNG":
        info, block = PngImagePlugin.PngInfo(), photoshop(IPTC)
        info.add_text("Raw profile type iptc", f"\nIPTC profile\n{len(block):8}\n{block.hex()}\n", zip=True)
        data = saved(format, pnginfo=info)
    elif format == "TIFF":
        assert read(saved(format, tiffinfo={34377: photoshop(IPTC)})).metadata.iptc == IPTC
        data = saved(format, tiffinfo={33723: IPTC})
    elif format == "DNG":
        data = dng(**tiff_tags(IPTC, 33723))
    else:
        return "–"
    photo = read_back(format, data)
    assert photo.metadata.texts == ()
    return word(photo.metadata.iptc, IPTC)


def read_profile(format):
    if format in ("GIF", "DNG"):
        return "–"
    if format == "BMP":
        return word(read(bmp_with_profile(Image.new("RGB", (4, 4)), SRGB)).metadata.icc, SRGB)
    return word(read(saved(format, icc_profile=SRGB)).metadata.icc, SRGB)


def read_density(format):
    assert read_back(format, dng() if format == "DNG" else saved(format, dpi=(0, 0))).metadata.density is None
    if format == "GIF":
        return "–"
    if format == "DNG":
        assert read_back(format, dng(resolution=(72, 72), resolutionunit="inch")).metadata.density is None
        data = dng(resolution=(300, 400), resolutionunit="inch")
    elif format in ("WebP", "AVIF", "HEIC"):
        block = Image.Exif()
        block.update({282: 300.0, 283: 400.0, 296: 2})
        data = saved(format, exif=block)
    else:
        data = saved(format, dpi=(300, 400))
    return word(read_back(format, data).metadata.density, (300, 400, True))


def read_texts(format):
    if format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Author", "Nöther")
        info.add_text("Software", "by hand", zip=True)
        info.add_itxt("Title", "Ὀδύσσεια", zip=True)
        texts = read(saved(format, pnginfo=info)).metadata.texts
        return word(texts, (("Author", "Nöther"), ("Software", "by hand"), ("Title", "Ὀδύσσεια")))
    data = dng() if format == "DNG" else saved(format, comment=b"by hand")
    return word(read_back(format, data).metadata.texts, (("Comment", "by hand"),))


def read_frames(format):
    if format == "DNG":
        return "–"
    kind = {"JPEG": "MPO", "WebP": "WEBP", "HEIC": "HEIF"}.get(format, format)
    pillow_heif.register_heif_opener()
    frames = [Image.new("RGB", (10, 6), (n, 0, 0)) for n in (0, 99)]
    file = io.BytesIO()
    if format == "BMP":
        return "–"
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    photo = read(file.getvalue())
    assert photo.warnings[0].endswith("; only the first is restored.")
    return "said"


READ: dict[str, Callable[[str], str]] = {
    "orientation in EXIF or the format's own": read_orientation,
    "orientation in XMP alone": read_xmp_orientation,
    "EXIF": read_exif,
    "XMP": read_xmp,
    "IPTC": read_iptc,
    "colour profile": read_profile,
    "density": read_density,
    "comments and texts": read_texts,
    "further frames, pages, pictures": read_frames,
}


@pytest.mark.parametrize(("row", "format", "cell"), [*table("What is read")])
def test_read(row, format, cell):
    assert READ[row](format) == cell


def test_a_developed_file_is_not_developed_once_more():
    xmp = XMP.format(1).replace("urn:n", "http://ns.adobe.com/camera-raw-settings/1.0/").encode()
    photo = read_back("DNG", with_xmp("DNG", xmp))
    assert photo.warnings == ("the image: its development settings are left out.",)
    assert b"kept" not in photo.metadata.xmp
    assert b"kept" in read(with_xmp("JPEG", xmp)).metadata.xmp


def test_every_row_is_tried_and_every_format_is_in_the_tables():
    from ucdir.images.readers import READERS
    from ucdir.images.write import FORMATS

    read_cells, written_cells = [*table("What is read")], [*table("What is written")]
    assert {row for row, _, _ in read_cells} == READ.keys()
    assert {row for row, _, _ in written_cells} == WRITTEN.keys()
    assert {column for _, column, _ in read_cells} == {*READERS, "DNG"} - {
        "JPEG XL"
    }  # which few builds of libvips read
    assert {column for _, column, _ in written_cells} == {format.name for format in FORMATS.values()}
