"""XMP: what no longer holds of a restored photograph is taken out of the text, and all else stays byte for byte."""

import re
from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from xml.parsers import expat

MAX_PROPERTIES: Final = 300_000
"""Most elements and attributes that are followed; Photoshop lists some ten thousand ancestors of a document."""
MAX_DEPTH: Final = 200
"""Most levels of elements that are followed."""

_ADOBE, _GOOGLE = "http://ns.adobe.com/", "http://ns.google.com/photos/1.0/"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_ORIENTATION: Final = f"{_ADOBE}tiff/1.0/ Orientation"
_SIZES: Final = {
    f"{_ADOBE}{name}": number
    for number, names in enumerate(
        (
            ("exif/1.0/ PixelXDimension", "tiff/1.0/ ImageWidth"),
            ("exif/1.0/ PixelYDimension", "tiff/1.0/ ImageLength"),
        )
    )
    for name in names
}

CREDENTIALS: Final = "content credentials"
_PARTS: Final = "further parts"

# Namespaces of what is not in a restored file -> what that is.
_GONE: Final = {
    f"{_ADOBE}hdr-gain-map/1.0/": "gain map",
    "http://ns.apple.com/HDRGainMap/1.0/": "gain map",
    f"{_GOOGLE}container/": _PARTS,
    f"{_GOOGLE}container/item/": _PARTS,
    f"{_GOOGLE}depthmap/": "depth map",
    f"{_GOOGLE}image/": "embedded image",
    f"{_GOOGLE}audio/": "sound",
}
TURNED: Final = MappingProxyType({"http://www.metadataworkinggroup.com/schemas/regions/": "marked regions"})
"""What holds no longer of an image that was turned: namespaces, and what they are of."""
DEVELOPED: Final = MappingProxyType({**TURNED, f"{_ADOBE}camera-raw-settings/1.0/": "development settings"})
"""What holds no longer of a developed RAW file; programs would apply the settings once more."""
_DYNAMIC_DEPTH: Final = "http://ns.google.com/photos/dd/1.0/"
_VIDEO: Final = re.compile(rf"{re.escape(_GOOGLE)}camera/ (MotionPhoto|MicroVideo)")
_GONE_PROPERTIES: Final = {
    f"{_ADOBE}xap/1.0/ Thumbnails": "",
    f"{_ADOBE}xmp/note/ HasExtendedXMP": "second part of the XMP",
    "http://purl.org/dc/terms/ provenance": CREDENTIALS,
}
_NAME: Final = rb"""[^\s"'<>/=]+"""
_TAG: Final = re.compile(b"<" + _NAME)
_ATTRIBUTE: Final = re.compile(rb"\s+(" + _NAME + rb""")\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_TAG_END: Final = re.compile(rb"\s*/?>")


class XmpScan(NamedTuple):
    """What an XMP packet holds.

    Args:
        orientation: that it gives, if any.
        cleaned: the packet without what no longer holds.
        gone: what the packet claims, and a restored file has not.
        properties: names of all elements and attributes, `namespace name`.
        end: where in `cleaned` its rdf:RDF element ends, and further properties can be inserted; 0 without one.
    """

    orientation: int | None
    cleaned: bytes
    gone: tuple[str, ...]
    properties: Container[str]
    end: int


def scan_xmp(
    block: bytes, width: int = 0, height: int = 0, stale: Mapping[str, str] = MappingProxyType({})
) -> XmpScan | None:
    """Find in an XMP packet what holds no longer once the image is upright and alone in its file.

    Args:
        block: the packet.
        width: of the upright image, in pixels.
        height: of the upright image, in pixels.
        stale: `TURNED` or `DEVELOPED`, if the image was.

    Returns:
        None where it is not XML, or has a document type, which XMP has not.
    """
    if block[:2] in (b"\xff\xfe", b"\xfe\xff"):
        block = block.decode("utf-16", "replace").encode()
    return _Scan(block.rstrip(b"\0"), (width, height), {**_GONE, **stale}).result()


class _Scan:
    """Spans of a packet to be replaced, found with expat, which says where in the bytes everything stands."""

    def __init__(self, block: bytes, size: tuple[int, int], stale: Mapping[str, str]) -> None:
        self._block, self._size, self._stale = block, size, stale
        self._edits: list[tuple[int, int, bytes]] = []
        self._open: list[tuple[str, int, int]] = []  # elements: name, start, end of the start tag
        self._left_out = 0  # depth at which an element is left out as a whole
        self._orientation: int | None = None
        self._gone: dict[str, None] = {}
        self._properties: set[str] = set()
        self._end = self._count = 0
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.ordered_attributes = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._finish
        parser.StartDoctypeDeclHandler = self._refuse
        self._parser = parser

    def result(self) -> XmpScan | None:
        try:
            self._parser.Parse(self._block, True)
        except (expat.ExpatError, ValueError):
            return None
        pieces, at, end = [], 0, self._end
        for start, stop, text in sorted(self._edits):
            if start >= at:  # not within a span that is replaced already
                pieces += [self._block[at:start], text]
                at = stop
                end += len(text) - (stop - start) if stop <= self._end else 0
        return XmpScan(
            self._orientation,
            b"".join([*pieces, self._block[at:]]),
            tuple(name for name in self._gone if name and (name != _PARTS or len(self._gone) == 1)),
            self._properties,
            end,
        )

    @staticmethod
    def _refuse(*_: object) -> None:
        raise ValueError("a document type")

    def _what_is_gone(self, name: str) -> str | None:
        """What a property stands for that a restored file has not; None for all others."""
        namespace = name.partition(" ")[0]
        if _VIDEO.match(name):
            return "motion video"
        if namespace.startswith(_DYNAMIC_DEPTH):
            return "depth map"
        return self._stale.get(namespace, _GONE_PROPERTIES.get(name))

    def _start(self, name: str, attributes: list[str]) -> None:
        at = self._parser.CurrentByteIndex
        tag = _TAG.match(self._block, at)
        self._count += 1 + len(attributes) // 2
        if tag is None or len(self._open) > MAX_DEPTH or self._count > MAX_PROPERTIES:
            raise ValueError("no such packet is written")
        end = tag.end()
        names = iter(attributes[::2])
        self._properties.update(attributes[::2], [name])
        left_out = bool(self._left_out)
        if not left_out and (gone := self._what_is_gone(name)) is not None:
            self._gone[gone] = None
            self._left_out = len(self._open) + 1
            left_out = True
        while found := _ATTRIBUTE.match(self._block, end):
            end = found.end()
            written = found.group(1)
            if written == b"xmlns" or written.startswith(b"xmlns:"):
                uri = (found.group(2) or found.group(3) or b"").decode("utf-8", "replace")
                if not left_out and (uri in self._stale or uri.startswith(_DYNAMIC_DEPTH)):
                    self._edits.append((*found.span(), b""))
                continue
            attribute = next(names)
            if not left_out:
                self._property(attribute, found.span(), found.span(2 if found.group(2) is not None else 3))
        ending = _TAG_END.match(self._block, end)
        if ending is None:
            raise ValueError("a tag that cannot be followed")
        self._open.append((name, at, ending.end()))

    def _finish(self, name: str) -> None:
        _, start, inside = self._open.pop()
        at = self._parser.CurrentByteIndex
        closed = self._block.startswith(b"</", at)
        end = self._block.index(b">", at) + 1 if closed else inside
        if name == _RDF + "RDF" and closed:
            self._end = at
        if not self._left_out:
            if closed:
                self._property(name, (start, end), (inside, at))
        elif self._left_out == len(self._open) + 1:
            self._left_out = 0
            self._edits.append((start, end, b""))

    def _property(self, name: str, whole: tuple[int, int], value: tuple[int, int]) -> None:
        """Correct or leave out a property whose name and value are at these spans."""
        if name == _ORIENTATION:
            text = self._block[slice(*value)].strip()
            if text in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8"):
                self._orientation = int(text)
            self._edits.append((*value, b"1"))
        elif name in _SIZES and self._size[0]:
            self._edits.append((*value, str(self._size[_SIZES[name]]).encode()))
        elif (gone := self._what_is_gone(name)) is not None:
            self._gone[gone] = None
            self._edits.append((*whole, b""))
