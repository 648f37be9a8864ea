"""XMP loses what no longer holds, whatever its prefixes and however it is written, and keeps the rest byte for byte."""

from types import MappingProxyType

import numpy as np
import pytest

from ucdir.images.xmp import DEVELOPED, MAX_DEPTH, MAX_PROPERTIES, TURNED, scan_xmp

HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
RDF = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
TAIL = '</rdf:RDF></x:xmpmeta>\n   <?xpacket end="w"?>'
NAMESPACES = {
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "GDepth": "http://ns.google.com/photos/1.0/depthmap/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
}


def packet(attributes: str = "", inside: str = "", **renamed: str) -> bytes:
    """An XMP packet with one description; `renamed` gives a prefix another name."""
    used = [prefix for prefix in NAMESPACES if f"{prefix}:" in attributes + inside]
    spaces = "".join(f' xmlns:{prefix}="{NAMESPACES[prefix]}"' for prefix in used)
    text = f'{HEAD}{RDF}<rdf:Description rdf:about=""{spaces} {attributes}>{inside}</rdf:Description>{TAIL}'
    for prefix, other in renamed.items():
        text = text.replace(f"{prefix}:", f"{other}:").replace(f"xmlns:{prefix}=", f"xmlns:{other}=")
    return text.encode()


def cleaned(*args, size=(0, 0), stale=MappingProxyType({}), **renamed):
    scan = scan_xmp(packet(*args, **renamed), *size, stale)
    assert scan is not None
    return scan.cleaned.decode(), scan


@pytest.mark.parametrize("prefix", ["tiff", "t"])
@pytest.mark.parametrize(
    "given",
    [
        ('tiff:Orientation="6"', ""),
        ("tiff:Orientation = '6'", ""),
        ("", "<tiff:Orientation>6</tiff:Orientation>"),
    ],
)
def test_the_orientation_is_told_and_reset(prefix, given):
    text, scan = cleaned(*given, tiff=prefix)
    assert scan.orientation == 6
    assert text.encode() == packet(*(part.replace("6", "1") for part in given), tiff=prefix)


@pytest.mark.parametrize("value", ["0", "9", "six", "", "66"])
def test_what_is_no_orientation_is_none(value):
    assert cleaned(f'tiff:Orientation="{value}"')[1].orientation is None


def test_a_property_of_another_namespace_is_left_alone():
    other = packet(
        'dc:Orientation="6" dc:MotionPhoto="1" dc:Version="1.0"', "<dc:Thumbnails>6</dc:Thumbnails>"
    )
    scan = scan_xmp(other, 3, 4, DEVELOPED)
    assert (scan.cleaned, scan.orientation, scan.gone) == (other, None, ())


def test_sizes_are_those_of_the_image():
    sizes = 'exif:PixelXDimension="10" tiff:ImageLength="20"'
    text, _ = cleaned(sizes, "<exif:PixelYDimension>20</exif:PixelYDimension>", size=(5, 7))
    assert 'exif:PixelXDimension="5" tiff:ImageLength="7"' in text
    assert "<exif:PixelYDimension>7</exif:PixelYDimension>" in text


def test_gain_maps_and_motion_photos_are_no_longer_claimed():
    text, scan = cleaned(
        'hdrgm:Version="1.0" dc:format="image/jpeg" GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="5" '
        'GCamera:BurstID="b"',
        "<Container:Directory><rdf:Seq><rdf:li rdf:parseType='Resource'><Container:Item Item:Semantic='GainMap'/>"
        "</rdf:li></rdf:Seq></Container:Directory><hdrgm:GainMapMax><rdf:Seq/></hdrgm:GainMapMax>"
        "<dc:source>here</dc:source>",
    )
    assert sorted(scan.gone) == ["gain map", "motion video"]
    for stale in ("hdrgm", "hdr-gain-map", "Container", "Item", "Motion", "Micro"):
        assert stale not in text
    kept = ('dc:format="image/jpeg"', 'GCamera:BurstID="b"', "<dc:source>here</dc:source>")
    assert all(part in text for part in kept)
    assert scan_xmp(scan.cleaned).gone == ()


def test_other_parts_that_are_not_in_the_file_are_no_longer_claimed():
    text, scan = cleaned(
        'GDepth:Near="1" xmpNote:HasExtendedXMP="ABC"', "<xmp:Thumbnails><rdf:Alt/></xmp:Thumbnails>"
    )
    assert sorted(scan.gone) == ["depth map", "second part of the XMP"]
    assert not [word for word in ("GDepth", "ABC", "Thumbnails") if word in text]


@pytest.mark.parametrize(
    ("semantic", "gone"),
    [
        ("", ("further parts",)),
        ('hdrgm:Version="1"', ("gain map",)),
        ('GCamera:MotionPhoto="1"', ("motion video",)),
    ],
)
def test_further_parts_are_said_where_nothing_says_what_they_are(semantic, gone):
    parts = "<Container:Directory><rdf:Seq/></Container:Directory>"
    assert cleaned(semantic, parts)[1].gone == gone


def test_marked_regions_are_kept_until_the_image_is_turned():
    regions = ("", "<mwg-rs:Regions><rdf:Bag/></mwg-rs:Regions>")
    assert "Regions" in cleaned(*regions)[0]
    text, scan = cleaned(*regions, stale=TURNED)
    assert scan.gone == ("marked regions",)
    assert "Regions" not in text


def test_settings_of_development_are_kept_until_a_raw_file_is_developed():
    settings = ('crs:Exposure2012="+1.0"', "<crs:ToneCurve><rdf:Seq/></crs:ToneCurve>")
    assert "Exposure2012" in cleaned(*settings, stale=TURNED)[0]
    text, scan = cleaned(*settings, stale=DEVELOPED)
    assert scan.gone == ("development settings",)
    assert "crs" not in text


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"<a",
        b"<a b:c='1'/>",
        packet()[:-40],
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<a>" * (MAX_DEPTH + 2) + b"</a>" * (MAX_DEPTH + 2),
        b"<a>" + b"<b/>" * MAX_PROPERTIES + b"</a>",
        b"<a" + b"".join(b" b%d=''" % number for number in range(MAX_PROPERTIES)) + b"/>",
    ],
)
def test_what_is_no_xmp_is_none(broken):
    assert scan_xmp(broken) is None


def test_padding_and_other_encodings_are_no_damage():
    assert scan_xmp(packet() + b"\0\0").cleaned == packet()
    text = packet('dc:format="Ὀ" tiff:Orientation="3"').decode()
    scan = scan_xmp(text.encode("utf-16"))
    assert scan.orientation == 3
    assert 'dc:format="Ὀ"'.encode() in scan.cleaned


def test_no_bytes_break_the_scan():
    data = packet(
        'tiff:Orientation="6" hdrgm:Version="1"', "<Container:Directory><rdf:Seq/></Container:Directory>"
    )
    rng = np.random.default_rng(0)
    for _ in range(2000):
        broken = bytearray(data)
        for place in rng.integers(0, len(broken), 2):
            broken[place] = rng.choice(list(b'<>/"=: \x00ax&\xff'))
        scan = scan_xmp(bytes(broken), 3, 4, DEVELOPED)
        assert scan is None or scan_xmp(scan.cleaned) is not None
