"""IPTC records are found, and mapped to the XMP properties of the same meaning where a format has no place for them."""

import struct
from xml.etree import ElementTree

import pytest

from ucdir.images.iptc import iptc_of_photoshop, iptc_segment, xmp_with_iptc
from ucdir.images.xmp import scan_xmp

DC, PHOTOSHOP = "{http://purl.org/dc/elements/1.1/}", "{http://ns.adobe.com/photoshop/1.0/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def records(*fields: tuple[int, bytes], utf8: bool = False) -> bytes:
    head = [(1, 90, b"\x1b%G")] if utf8 else []
    return b"".join(
        struct.pack(">BBBH", 0x1C, record, number, len(value)) + value
        for record, number, value in [*head, (2, 0, b"\0\2"), *((2, *field) for field in fields)]
    )


def properties(xmp: bytes) -> dict[str, list[str]]:
    """Of every description, names and texts."""
    found = {}
    for description in ElementTree.fromstring(xmp).iter(f"{RDF}Description"):  # noqa: S314 (made here)
        for element in description:
            found[element.tag] = [item.text for item in element.iterfind(f".//{RDF}li")] or [element.text]
    return found


def test_resources_of_photoshop_are_walked():
    iptc = records((120, b"odd"))
    assert iptc_of_photoshop(iptc_segment(iptc).removeprefix(b"Photoshop 3.0\0")) == iptc
    for broken in (
        b"",
        b"8BIM",
        b"8BIM\x04\x04",
        b"8BIM\x04\x04\0\0\0\0\0\0",
        b"8BIM\x04\x05\0\0\xff\xff\xff\xff",
    ):
        assert iptc_of_photoshop(broken) is None


def test_every_field_that_xmp_has_a_property_for_is_in_it():
    iptc = records(
        (120, b"<a> town & sea"), (116, b"(c) me"), (25, b"one"), (25, b"two"), (80, b"A. Nother"), (90, b"Br\xfcnn"),
        (55, b"20240502"), (60, b"101500+0200"),
    )  # fmt: skip
    xmp, complete = xmp_with_iptc(None, iptc)
    assert complete
    assert properties(xmp) == {
        f"{DC}description": ["<a> town & sea"],
        f"{DC}rights": ["(c) me"],
        f"{DC}subject": ["one", "two"],
        f"{DC}creator": ["A. Nother"],
        f"{PHOTOSHOP}City": ["Brünn"],
        f"{PHOTOSHOP}DateCreated": ["2024-05-02T10:15:00+02:00"],
    }
    assert scan_xmp(xmp).cleaned == xmp


@pytest.mark.parametrize("utf8", [False, True])
def test_utf8_is_read_as_such(utf8):
    xmp, _ = xmp_with_iptc(None, records((120, "Ὀδύσσεια".encode()), utf8=utf8))
    assert properties(xmp)[f"{DC}description"] == ["Ὀδύσσεια"]


def test_xmp_that_is_there_stays_and_wins():
    given, _ = xmp_with_iptc(None, records((120, b"newer")))
    xmp, complete = xmp_with_iptc(given, records((120, b"older"), (105, b"headline")))
    assert complete
    assert properties(xmp) == {f"{DC}description": ["newer"], f"{PHOTOSHOP}Headline": ["headline"]}
    assert xmp_with_iptc(xmp, records((120, b"older"))) == (xmp, True)


@pytest.mark.parametrize(
    "iptc",
    [
        records((120, b"text"), (12, b"IPTC:01000000")),
        records((120, b"text"))[:-1],
        records((120, b"text")) + b"rest",
        b"\x1c\x02\x78\x80\x04\0\0\0\1a",
        b"no records",
    ],
)
def test_what_is_not_in_xmp_is_told(iptc):
    assert not xmp_with_iptc(None, iptc)[1]


def test_xmp_without_a_place_for_more_is_left_alone():
    assert xmp_with_iptc(b"<a/>", records((120, b"text"))) == (b"<a/>", False)


def test_letters_that_xml_has_not_are_left_out():
    xmp, _ = xmp_with_iptc(None, records((120, b"bell\x07.")))
    assert properties(xmp)[f"{DC}description"] == ["bell ."]
