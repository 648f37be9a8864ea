"""IPTC (IIM): captions, keywords and rights, stored in JPEG and TIFF files; elsewhere the same as XMP properties."""

import re
import struct
from collections.abc import Iterable, Iterator
from typing import Final
from xml.sax.saxutils import escape

from ucdir.images.xmp import scan_xmp

MAX_FIELDS: Final = 10_000
"""Most fields that are read; keywords are many, but not so many."""

_PHOTOSHOP: Final = b"Photoshop 3.0\0"
_IPTC: Final = 0x0404
_PATHS: Final = range(2000, 2998)
_UTF8: Final = b"\x1b%G"
_CHARSET, _DATE, _TIME = (1, 90), (2, 55), (2, 60)

_NAMESPACES: Final = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
}
# Dataset of record 2 -> its XMP property, as the IPTC Photo Metadata Standard maps them, and its container.
_PROPERTIES: Final = {
    5: ("dc:title", "Alt"),
    10: ("photoshop:Urgency", ""),
    15: ("photoshop:Category", ""),
    20: ("photoshop:SupplementalCategories", "Bag"),
    25: ("dc:subject", "Bag"),
    40: ("photoshop:Instructions", ""),
    55: ("photoshop:DateCreated", ""),
    80: ("dc:creator", "Seq"),
    85: ("photoshop:AuthorsPosition", ""),
    90: ("photoshop:City", ""),
    92: ("Iptc4xmpCore:Location", ""),
    95: ("photoshop:State", ""),
    100: ("Iptc4xmpCore:CountryCode", ""),
    101: ("photoshop:Country", ""),
    103: ("photoshop:TransmissionReference", ""),
    105: ("photoshop:Headline", ""),
    110: ("photoshop:Credit", ""),
    115: ("photoshop:Source", ""),
    116: ("dc:rights", "Alt"),
    120: ("dc:description", "Alt"),
    122: ("photoshop:CaptionWriter", ""),
}
_NEW: Final = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
    b"</rdf:RDF></x:xmpmeta>",
)
_NOT_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and body of Photoshop's image resources (JPEG's APP13 after its name, TIFF's tag 34377)."""
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 12 <= len(block):
        number, name = struct.unpack_from(">HB", block, at + 4)
        start = at + 6 + (name + 2 & ~1) + 4
        size = int.from_bytes(block[start - 4 : start], "big")
        yield number, block[start : start + size]
        at = start + size + size % 2


def iptc_of_photoshop(resources: bytes) -> bytes | None:
    """The IPTC records among Photoshop's image resources."""
    return next((body for number, body in _resources(resources) if number == _IPTC), None) or None


def has_paths(resources: bytes) -> bool:
    """Whether Photoshop's image resources hold paths, by which products are cut out."""
    return any(number in _PATHS for number, _ in _resources(resources))


def resources_of_jpeg(segments: Iterable[bytes]) -> bytes:
    """Photoshop's image resources in the bodies of JPEG's APP13 segments."""
    return b"".join(s.removeprefix(_PHOTOSHOP) for s in segments if s.startswith(_PHOTOSHOP))


def iptc_segment(iptc: bytes) -> bytes:
    """The body of an APP13 segment."""
    size = struct.pack(">HHI", _IPTC, 0, len(iptc))
    return _PHOTOSHOP + b"8BIM" + size + iptc + bytes(len(iptc) % 2)


def xmp_with_iptc(xmp: bytes | None, iptc: bytes) -> tuple[bytes | None, bool]:
    """XMP with the IPTC fields that it does not have yet, and whether every field is in it now."""
    fields, complete = _fields(iptc)
    scan = None if xmp is None else scan_xmp(xmp)
    if xmp is not None and (scan is None or not scan.end):
        return xmp, False
    new = []
    for number, texts in fields.items():
        name, container = _PROPERTIES[number]
        prefix, _, local = name.partition(":")
        if scan is not None and f"{_NAMESPACES[prefix]} {local}" in scan.properties:
            continue  # XMP is what programs prefer where both are
        language = ' xml:lang="x-default"' if container == "Alt" else ""
        items = [escape(_NOT_XML.sub(" ", text)) for text in texts]
        value = "".join(f"<rdf:li{language}>{item}</rdf:li>" for item in items) if container else items[0]
        new.append(
            f"<{name}><rdf:{container}>{value}</rdf:{container}></{name}>"
            if container
            else f"<{name}>{value}</{name}>"
        )
    if not new:
        return xmp, complete
    spaces = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    rdf = ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    added = f'<rdf:Description{rdf} rdf:about=""{spaces}>{"".join(new)}</rdf:Description>'.encode()
    if scan is None:
        return _NEW[0] + added + _NEW[1], complete
    return scan.cleaned[: scan.end] + added + scan.cleaned[scan.end :], complete


def _fields(iptc: bytes) -> tuple[dict[int, list[str]], bool]:
    """Texts by dataset of record 2, and whether that is all that the records tell of the photograph."""
    datasets: dict[tuple[int, int], list[bytes]] = {}
    at = 0
    for _ in range(MAX_FIELDS):
        if iptc[at : at + 1] != b"\x1c" or at + 5 > len(iptc):
            break
        record, number, size = struct.unpack_from(">BBH", iptc, at + 1)
        datasets.setdefault((record, number), []).append(iptc[at + 5 : at + 5 + size])
        at += 5 + size
        if size >> 15 or at > len(iptc):  # of more than 32 KiB, or cut off
            break
    complete = not iptc[at:].strip(b"\0") and at <= len(iptc)
    utf8 = datasets.get(_CHARSET, [b""])[0] == _UTF8
    fields: dict[int, list[str]] = {}
    for (record, number), values in datasets.items():
        if record == 2 and number in _PROPERTIES:
            texts = [text for value in values if (text := _decoded(value, utf8))]
            if number == _DATE[1] and texts:
                texts = [_date(texts[0], _decoded(datasets.get(_TIME, [b""])[0], utf8))]
            if texts:
                fields[number] = texts
        elif record != 1 and (record, number) not in ((2, 0), _TIME):
            complete = False
    return fields, complete


def _decoded(value: bytes, utf8: bool) -> str:
    value = value.rstrip(b"\0")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode(*(("utf-8", "replace") if utf8 else ("latin-1",)))


def _date(date: str, time: str) -> str:
    """`20240502` and `101500+0200` as XMP has them; what looks otherwise as it is."""
    day = re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", date)
    clock = re.sub(r"^(\d\d)(\d\d)(\d\d)(?:([+-]\d\d)(\d\d))?$", r"T\1:\2:\3\4:\5", time).rstrip(":")
    return day + clock if day != date and clock != time else day
