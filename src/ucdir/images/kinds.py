"""What a file is, told from its first bytes and never from its name."""

from pathlib import Path
from typing import Final

from ucdir.errors import ImageError
from ucdir.images.messages import shown

READABLE: Final = "JPEG, PNG, TIFF, WebP, AVIF, BMP or GIF"


class RawFile(Exception):  # noqa: N818 (not an error)
    """Not an error: a file turned out to be a camera's RAW file, which is read in another way."""


_SUPPORTED: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)

_RAW: Final = (
    b"FUJIFILMCCD-RAW",
    b"IIRO",
    b"IIRS",
    b"MMOR",
    b"IIU\0",
    b"FOVb",
    b"\0MRM",
    b"II\x1a\0\0\0HEAPCCDR",
)

RAW_SUFFIXES: Final = frozenset(
    f".{name}"
    for name in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos", "mrw"),
        *("nef", "nrw", "orf", "pef", "r3d", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
"""Only used to name what a file is that would be refused anyway, or a TIFF that is a camera's container."""

_OTHERS: Final = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\0\0\x01\0", "an icon"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"ID3", "a sound file"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"\x80\x02", "a Python pickle"),
    (b"DDS ", "a DDS texture"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
)


def kind_of(data: bytes, path: Path) -> str:
    """`JPEG`, `PNG`, `TIFF`, `WebP`, `AVIF`, `BMP` or `GIF`.

    Raises:
        RawFile: it is a camera's RAW file.
        ImageError: the file is none of them; the message says what it is, as far as that can be told.
    """
    head = data[:64]
    if head.startswith(_RAW) or (head.startswith(b"II*\0") and head[8:10] == b"CR"):
        raise RawFile
    for magic, name in _SUPPORTED:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _iso_media(data, path)
    raise ImageError(
        f"{shown(path)} is {_other(head, path)}, which ucdir does not read; convert it to {READABLE} first."
    )


def _iso_media(data: bytes, path: Path) -> str:
    """`AVIF`, told from the brands of an ISO base media file."""
    length = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, length - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if b"crx " in brands:
        raise RawFile
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        what = "a HEIC image"
    else:
        what = "a video"
    raise ImageError(f"{shown(path)} is {what}, which ucdir does not read; convert it to {READABLE} first.")


def _other(head: bytes, path: Path) -> str:
    if head[:4] == b"RIFF":
        return "a video or sound file"
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")):
        return "an SVG drawing or XML document"
    if text.startswith((b"<!doctype", b"<html")):
        return "a web page (perhaps of a failed download)"
    if path.suffix.lower() in RAW_SUFFIXES:
        return "perhaps a camera's RAW file of a kind that is not known, or damaged"
    return "not an image, or damaged at its beginning"
