"""docs/files.md: every cell of its table of colours is tried, with files that others made."""

import io
import re
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from colour_files import (
    P3_POINTS,
    SCENE,
    avif,
    bmp_with_profile,
    chrm,
    exif_of_adobe_rgb,
    hdr_profile,
    heic,
    middles,
    nclx,
    png,
    scene_in,
    seen,
    tiff_with_adobe_rgb,
)
from PIL import Image

from ucdir.errors import ImageError
from ucdir.images import Photo, read, write
from ucdir.images.colour import colour_of_cicp
from ucdir.images.decode import vips
from ucdir.images.srgb import from_srgb_signal, to_srgb_signal

P3 = colour_of_cicp(12, 13).profile(3)


def table():
    """Row, column and cell."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "files.md").read_text()
    lines = re.findall(r"^\|.*\|$", text.split("## Colours\n")[1].split("\n## ")[0], re.M)
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(row, name, cell) for row, *cells in rows for name, cell in zip(head[1:], cells, strict=True)]


def saved(format, image, **settings):
    """As others write it, as exactly as the format can."""
    file = io.BytesIO()
    if format == "HEIC":
        pillow_heif.encode(image.mode, image.size, image.tobytes(), file, quality=-1, chroma=444, **settings)
        return file.getvalue()
    best = {
        "JPEG": {"quality": 100, "subsampling": "4:4:4"},
        "WebP": {"lossless": True, "exact": True},
        "AVIF": {"quality": 100, "subsampling": "4:0:0" if image.mode == "L" else "4:4:4"},
    }.get(format, {})
    if format == "BMP" and settings:
        return bmp_with_profile(image, **settings)
    image.save(file, "WEBP" if format == "WebP" else format, **best, **settings)
    return file.getvalue()


def kept(data, folder):
    """Whether the result looks like the six colours, after networks that saw them and changed nothing."""
    photo = read(data)
    signal = to_srgb_signal(photo)
    network = middles(np.moveaxis(signal[0], 0, -1)) / 2 + 0.5
    write(Photo(from_srgb_signal(signal, photo), metadata=photo.metadata), folder / "a.png", force=True)
    with Image.open(folder / "a.png") as result:
        shown = middles(seen(result))
    assert np.abs(network - SCENE).max() < 0.02
    return "kept" if np.abs(shown - SCENE * 255).max() <= 5 else "lost"


def by_profile(format, folder):
    if format == "GIF":
        return "–"
    return kept(saved(format, Image.fromarray(scene_in("P3", "sRGB")), icc_profile=P3), folder)


def by_fields(format, folder):
    files = {
        "PNG": (
            png(scene_in("P3", "sRGB"), {b"cICP": bytes((12, 13, 0, 1))}),
            png(scene_in("P3", "sRGB", np.uint16), chrm(P3_POINTS)),
        ),
        "AVIF": (avif(scene_in("P3", "sRGB"), 12, 13),),
        "HEIC": (heic(scene_in("P3", "sRGB"), **nclx(12, 13)),),
    }
    return {kept(data, folder) for data in files[format]}.pop() if format in files else "–"


def by_exif(format, folder):
    if format in ("GIF", "BMP"):
        return "–"
    pixels = scene_in("Adobe", "Adobe")
    if format == "TIFF":
        data = tiff_with_adobe_rgb()
    elif format == "HEIC":
        data = heic(pixels, **nclx(2, 2), exif=b"Exif\0\0" + exif_of_adobe_rgb())
    elif format == "AVIF":
        data = avif(pixels, 2, 2, exif=exif_of_adobe_rgb())
    else:
        data = saved(format, Image.fromarray(pixels), exif=b"Exif\0\0" + exif_of_adobe_rgb())
    return kept(data, folder)


def hdr(format, folder):
    if format == "GIF":
        return "–"
    image = Image.fromarray(scene_in("P3", "sRGB"))
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        with pytest.raises(ImageError, match=name):
            read(saved(format, image, icc_profile=hdr_profile(transfer)))
    return "refused"


def cmyk(format, folder):
    if format not in ("JPEG", "TIFF"):  # have none
        return "–"
    photo = read(saved(format, Image.fromarray(np.zeros((8, 8, 4), np.uint8), "CMYK")))
    assert photo.pixels.min() > 240, "paper"
    assert "its CMYK colours were converted to sRGB" in photo.warnings[0]
    return "to sRGB"


def palette(format, folder):
    image = Image.fromarray(scene_in("sRGB", "sRGB")).quantize(8)
    if format in ("JPEG", "HEIC", "WebP", "AVIF"):  # have none
        return "–"
    np.testing.assert_array_equal(read(saved(format, image)).pixels, np.asarray(image.convert("RGB")))
    return "RGB"


def grey(format, folder):
    pixels = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    photo = read(saved(format, Image.fromarray(pixels)))
    assert np.abs(photo.pixels.astype(int) - pixels[..., None]).max() <= 1
    return "grey" if photo.is_grey else "RGB"


def deep(format, folder):
    ramp = np.linspace(0, 65_535, 4096).astype(np.uint16).reshape(64, 64, 1).repeat(3, axis=2)
    image = vips().Image.new_from_memory(ramp.tobytes(), 64, 64, 3, "ushort").copy(interpretation="rgb16")
    if format == "JPEG":  # of 12 bits, by its header
        data = bytearray(saved(format, Image.new("RGB", (8, 8))))
        data[data.index(b"\xff\xc0") + 4] = 12
        with pytest.raises(ImageError, match="12 bits a sample"):
            read(bytes(data))
        return "refused"
    if format == "HEIC":
        data = heic(ramp, "RGB;16")
    elif format == "AVIF":
        data = image.heifsave_buffer(compression="av1", bitdepth=12, lossless=True)
    elif format in ("PNG", "TIFF"):
        data = getattr(image, f"{format.lower()}save_buffer")()
    else:
        return "–"
    photo = read(data)
    assert (
        np.abs(photo.pixels.astype(int) - ramp).max() <= {"PNG": 0, "TIFF": 0, "AVIF": 16, "HEIC": 64}[format]
    )
    assert len(np.unique(photo.pixels)) > 1000
    np.testing.assert_array_equal(from_srgb_signal(to_srgb_signal(photo), photo), photo.pixels)
    return "16 bits"


def transparency(format, folder):
    samples = np.zeros((16, 16, 4), np.uint8)
    samples[..., 1] = 200
    samples[:, 8:, 3] = 255
    image = Image.fromarray(samples)
    if format == "GIF":
        image = image.convert("P")
        image.info["transparency"] = (
            image.getpixel((0, 0)) if image.getpixel((0, 0)) != image.getpixel((9, 9)) else 5
        )
    if format in ("JPEG", "BMP"):
        assert read(saved(format, image.convert("RGB"))).alpha is None
        return "–"
    photo = read(saved(format, image))
    np.testing.assert_array_equal(photo.alpha, samples[..., 3])
    return "kept"


ROWS = {
    "colour space by a profile": by_profile,
    "colour space by the format's own fields": by_fields,
    "Adobe RGB by EXIF alone": by_exif,
    "PQ and HLG": hdr,
    "CMYK": cmyk,
    "palette": palette,
    "grey": grey,
    "more than 8 bits": deep,
    "transparency": transparency,
}


@pytest.mark.parametrize(("row", "format", "cell"), table())
def test_colours(tmp_path, row, format, cell):
    assert ROWS[row](format, tmp_path) == cell


def test_every_row_and_format_is_in_the_table():
    from ucdir.images.readers import READERS

    assert {row for row, _, _ in table()} == ROWS.keys()
    assert {format for _, format, _ in table()} == READERS.keys() - {"JPEG XL"}
