"""What a file is, known from its first bytes; its name only decides whether a TIFF file is a camera's RAW file."""

from collections.abc import Mapping
from typing import Final

from ucdir.errors import ImageError
from ucdir.images.paths import RAW_SUFFIXES

READABLE: Final = "JPEG, PNG, TIFF, WebP, AVIF, BMP or GIF"


class RawFile(Exception):  # noqa: N818 (not an error)
    """Not an error: a file turned out to be a camera's RAW file, which is read in another way."""


_SUPPORTED: Final[Mapping[str, tuple[bytes, ...]]] = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
}
_RAW: Final = (
    *(b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM"),
    b"II\x1a\0\0\0HEAPCCDR",
)
_OTHERS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "a PDF document": (b"%PDF",),
    "a PostScript document": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "a Photoshop document": (b"8BPS",),
    "a GIMP document": (b"gimp xcf",),
    "a JPEG 2000 image": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "an icon": (b"\0\0\x01\0",),
    "a ZIP archive or office document": (b"PK\x03\x04",),
    "a gzip archive": (b"\x1f\x8b",),
    "a video": (b"\x1aE\xdf\xa3",),
    "a video or sound file": (b"RIFF",),
    "a sound file": (b"ID3",),
    "a program": (b"MZ", b"\x7fELF"),
    "a Python pickle": (b"\x80\x02",),
    "a DDS texture": (b"DDS ",),
    "an OpenEXR image": (b"v/1\x01",),
    "a Radiance HDR image": (b"#?RADIANCE",),
}
_HEIC: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def kind_of(data: bytes, suffix: str) -> str:
    """`JPEG`, `PNG`, `TIFF`, `WebP`, `AVIF`, `HEIC`, `JPEG XL`, `BMP` or `GIF`.

    Args:
        data: the file's content.
        suffix: of its name, in lower case.

    Raises:
        RawFile: it is a camera's RAW file.
        ImageError: the file is none of them; the text continues the file's name and says what it is, if that is known.
    """
    head = data[:64]
    if head.startswith(_RAW) or (head.startswith(b"II*\0") and head[8:10] == b"CR"):
        raise RawFile
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":  # an ISO base media file: its brands say of what kind
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if b"crx " in brands:
            raise RawFile
        if brands & _HEIC:
            return "HEIC"
        what = "a video"
    else:
        found = [kind for kind, starts in _SUPPORTED.items() if head.startswith(starts)]
        if found == ["TIFF"] and suffix in RAW_SUFFIXES:  # many cameras' files begin as TIFF
            raise RawFile
        if found:
            return found[0]
        what = _foreign(head, suffix)
    raise ImageError(f"is {what}, which ucdir does not read; convert it to {READABLE} first.")


def _foreign(head: bytes, suffix: str) -> str:
    for name, starts in _OTHERS.items():
        if head.startswith(starts):
            return name
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")):
        return "an SVG drawing or XML document"
    if text.startswith((b"<!doctype", b"<html")):
        return "a web page (perhaps of a failed download)"
    if suffix in RAW_SUFFIXES:
        return "perhaps a camera's RAW file of a kind that is not known, or damaged"
    return "not an image, or damaged at its beginning"
