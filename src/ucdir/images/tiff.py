"""TIFF: what a file holds, checked before it is decoded; and files written with EXIF byte for byte."""

import itertools
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ImageError
from ucdir.images.density import Density
from ucdir.images.exif import (
    DESCRIPTIVE,
    ORIENTATION,
    Ifd,
    TiffStructure,
    Values,
    exif_of_tiff,
    ifd_bytes,
    stored_values,
)
from ucdir.images.iptc import has_paths, iptc_of_photoshop
from ucdir.images.large import FileBytes
from ucdir.images.photo import Metadata, Photo
from ucdir.images.pixels import Pixels
from ucdir.images.signatures import RawFile
from ucdir.limits import MAX_METADATA_BYTES
from ucdir.memory import release

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_SAMPLES, _PLANES, _TILE_WIDTH, _SUBIFDS, _FORMAT, _DNG_VERSION = 277, 284, 322, 330, 339, 50706

_STRIP_STARTS, _STRIP_ROWS, _STRIP_SIZES, _PREDICTOR, _EXTRA_SAMPLES = 273, 278, 279, 317, 338
_TILE_STARTS, _TILE_SIZES = 324, 325
_NOISE_PROFILE, _DOUBLE = 51041, 12
_X, _Y, _RESOLUTION_UNIT = 282, 283, 296
_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675

PATHS: Final = "clipping paths"
_PHOTOSHOP_DOCUMENT: Final = 37724
_LAYERS: Final = (b"8BIMLayr", b"MIB8ryaL", b"8BIMLr16", b"MIB861rL")
_LOOKED_AT: Final = 1 << 16
_GEOREFERENCE: Final = frozenset({33550, 33922, 34264, 34735})
"""GeoTIFF's ModelPixelScale, ModelTiepoint, ModelTransformation and GeoKeyDirectory."""

_FORMATS: Final = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
_DEPTHS: Final = (1, 2, 4, 8, 16)
_COLOURS: Final = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_WITH_ALPHA, _PALETTE = (1, 2, 3, 5), 3
_ODD_COLOURS: Final = {4: "a mask", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32844: "LogL", 32845: "LogLuv"}
_RAW_COLOURS: Final = (32803, 34892)
_RAW_COMPRESSIONS: Final = (32767, 34713, 65000, 65535)
_COMPRESSIONS: Final = (1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50000, 50001)
_ODD_COMPRESSIONS: Final = {6: "old-style JPEG", 34676: "SGI LogLuv", 34677: "SGI LogLuv", 34925: "LZMA"}

_STRIP_BYTES: Final = 1 << 18
_BYTE, _SHORT, _LONG, _UNDEFINED = 1, 3, 4, 7
_YCBCR, _JPEG, _SUBSAMPLING, _FRACTION = 6, 7, 530, 5
_USUAL_YCBCR: Final = {529: (0.299, 0.587, 0.114), 532: (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)}
"""YCbCrCoefficients and ReferenceBlackWhite as in JPEG files."""
_UNSIGNED: Final = {_SHORT: 2, _LONG: 4, 16: 8}


class TiffHeader(NamedTuple):
    """Width and height of the image in pixels, whether it has alpha and says so (ExtraSamples 1 or 2; many programs
    write 0, or leave the tag out), how many full-size pages there are, the bytes to decode, the offset of the image's
    IFD, where libvips finds it, by the names of its options, and whether it gives YCbCr for RGB."""

    width: int
    height: int
    alpha: bool
    says_alpha: bool
    pages: int
    data: bytes
    ifd: int
    place: Mapping[str, int]
    ycbcr: bool


def tiff_header(data: bytes) -> TiffHeader:
    """Read the IFDs of a TIFF file.

    Raises:
        RawFile: it is a camera's RAW file.
        ImageError: the file is damaged, or of a depth or colour that is not read.
    """
    try:
        structure = TiffStructure(data)
        pages = structure.ifds()
    except ValueError:
        pages = []
    if not pages:
        raise ImageError("is damaged or cut off (no TIFF directory can be read); get a complete copy of it.")
    if _is_raw(structure, pages):
        raise RawFile
    main, place = _image(structure, pages)
    if problem := _problem(structure, main):
        raise ImageError(f"{problem}, which ucdir does not read; convert it to a TIFF of 8 or 16 bits first.")
    for tag, highest in ((ORIENTATION, 8), (_RESOLUTION_UNIT, 3)):
        entry = main.entries.get(tag)
        if entry is not None and not 1 <= structure.number(main, tag, 1) <= highest:  # libtiff would give up
            one = (1).to_bytes(entry.size, "little" if structure.order == "<" else "big")
            if isinstance(data, FileBytes):
                data = data.changed(entry.start, one)
            else:
                data = data[: entry.start] + one + data[entry.start + entry.size :]
    full_size = sum(_is_full_size(structure, page) for page in pages)
    width, height, samples = (
        structure.number(main, tag, default) for tag, default in ((_WIDTH, 0), (_HEIGHT, 0), (_SAMPLES, 1))
    )
    alpha = samples > _COLOURS[structure.number(main, _PHOTOMETRIC, 1)]
    says_alpha = structure.number(main, _EXTRA_SAMPLES, 0) in (1, 2)
    ycbcr = _is_plain_ycbcr(structure, main)
    return TiffHeader(width, height, alpha, says_alpha, full_size, data, main.start, place, ycbcr)


def _image(structure: TiffStructure, pages: list[Ifd]) -> tuple[Ifd, dict[str, int]]:
    """The IFD of the image, and its place: that of the first page, unless it says that it is a smaller copy of one that
    follows or lies below it (TIFF/EP); a thumbnail must not pass for the photograph."""

    def pixels(page: Ifd) -> int:
        return structure.number(page, _WIDTH, 0) * structure.number(page, _HEIGHT, 0)

    subs = [structure.ifd(offset) for offset in structure.numbers(pages[0], _SUBIFDS)]
    others = [("page", number, page) for number, page in enumerate(pages)]
    others += [("subifd", number, sub) for number, sub in enumerate(subs) if sub is not None]
    if not _is_full_size(structure, pages[0]):
        for name, number, page in others:
            if _is_full_size(structure, page) and pixels(page) > pixels(pages[0]):
                return page, {name: number}
    return pages[0], {}


def _is_full_size(structure: TiffStructure, page: Ifd) -> bool:
    """Whether a page is neither a smaller copy of another nor a mask."""
    return not structure.number(page, _SUBFILE, 0) & 5


def _is_plain_ycbcr(structure: TiffStructure, page: Ifd) -> bool:
    """Whether an image is YCbCr with as much colour as light and not compressed as JPEG. libtiff gives the samples of
    such a one as they are; of others it makes RGB."""
    return (
        structure.number(page, _PHOTOMETRIC, 1) == _YCBCR
        and structure.number(page, _COMPRESSION, 1) != _JPEG
        and structure.numbers(page, _SUBSAMPLING)[:2] == (1, 1)
    )


def tiff_metadata(data: bytes, offset: int | None = None) -> Metadata:
    """EXIF, XMP, IPTC and density in the IFD at an offset, by default the first, of a TIFF or RAW file."""
    try:
        structure = TiffStructure(data)
        main = structure.ifd(structure.first if offset is None else offset)
    except ValueError:
        main = None
    if main is None:
        return Metadata()
    blocks = (main.entries.get(tag) for tag in (_XMP, _IPTC, _PHOTOSHOP))
    xmp, iptc, photoshop = (e and bytes(data[e.start : e.start + e.size]) for e in blocks)
    iptc = iptc or iptc_of_photoshop(photoshop or b"")
    return Metadata(exif_of_tiff(data, offset), None, xmp, iptc, Density.of_ifd(structure, main))


def tiff_left_out(data: bytes) -> tuple[str, ...]:
    """What the first IFD of a TIFF file holds beside the image and its metadata."""
    structure = TiffStructure(data)
    main = structure.ifd(structure.first)
    entries = {} if main is None else main.entries

    def stored(tag: int, most: int) -> bytes:
        entry = entries.get(tag)
        return b"" if entry is None else bytes(data[entry.start : entry.start + min(entry.size, most)])

    layers = stored(_PHOTOSHOP_DOCUMENT, _LOOKED_AT)
    there = {
        PATHS: has_paths(stored(_PHOTOSHOP, MAX_METADATA_BYTES)),
        "layers": any(key in layers for key in _LAYERS),
        "georeference": not _GEOREFERENCE.isdisjoint(entries),
    }
    return tuple(name for name, is_there in there.items() if is_there)


def _is_raw(structure: TiffStructure, pages: list[Ifd]) -> bool:
    """Whether a page is of RAW data; the first is often a thumbnail, which must not pass for the photograph."""
    return any(
        _DNG_VERSION in page.entries
        or structure.number(page, _PHOTOMETRIC, 0) in _RAW_COLOURS
        or structure.number(page, _COMPRESSION, 1) in _RAW_COMPRESSIONS
        for page in _with_subs(structure, pages)
    )


def _with_subs(structure: TiffStructure, pages: list[Ifd]) -> list[Ifd]:
    """The pages, and what the first of them has below it."""
    subs = [structure.ifd(offset) for offset in structure.numbers(pages[0], _SUBIFDS)] if pages else []
    return [*pages, *(sub for sub in subs if sub is not None)]


class RawImage(NamedTuple):
    """A RAW image in a DNG file: its compression, by TIFF's number; where the last of its bytes ends; and its noise, if
    the file tells it: variance = scale · light + offset, light in [0,1] (NoiseProfile's first plane)."""

    compression: int
    end: int
    noise: tuple[float, float] | None


def raw_images(data: bytes) -> list[RawImage] | None:
    """The RAW images in a DNG file; None where it is none."""
    try:
        structure = TiffStructure(data)
        pages = _with_subs(structure, structure.ifds())
    except ValueError:
        return None
    if not any(_DNG_VERSION in page.entries for page in pages):
        return None
    return [
        RawImage(
            structure.number(page, _COMPRESSION, 1),
            _end(structure, page),
            _noise(structure, page) or _noise(structure, pages[0]),
        )
        for page in pages
        if structure.number(page, _PHOTOMETRIC, 0) in _RAW_COLOURS
    ]


def _end(structure: TiffStructure, page: Ifd) -> int:
    """Where the last strip or tile of a page ends."""
    ends = [0]
    for tags in ((_STRIP_STARTS, _STRIP_SIZES), (_TILE_STARTS, _TILE_SIZES)):
        starts, sizes = (_array(structure, page, tag) for tag in tags)
        count = min(len(starts), len(sizes))
        ends.append(int((starts[:count] + sizes[:count]).max(initial=0)))
    return max(ends)


def _noise(structure: TiffStructure, page: Ifd) -> tuple[float, float] | None:
    entry = page.entries.get(_NOISE_PROFILE)
    if entry is None or entry.kind != _DOUBLE or entry.number < 2:
        return None
    scale, offset = struct.unpack_from(structure.order + "dd", structure.data, entry.start)
    return scale, offset


def _array(structure: TiffStructure, page: Ifd, tag: int) -> NDArray[np.float64]:
    """All whole numbers of a tag; none where it is absent or of another type."""
    entry = page.entries.get(tag)
    if entry is None or entry.kind not in _UNSIGNED:
        return np.empty(0)
    kind = f"{structure.order}u{_UNSIGNED[entry.kind]}"
    return np.frombuffer(structure.data, kind, entry.number, entry.start).astype(np.float64)


def _problem(structure: TiffStructure, main: Ifd) -> str:  # noqa: PLR0911 (one line a problem)
    """Why an image is not read; empty if it is."""
    samples = structure.number(main, _SAMPLES, 1)
    bits = structure.numbers(main, _BITS) or (1,)
    number_format = structure.number(main, _FORMAT, 1)
    colour = structure.number(main, _PHOTOMETRIC, 1)
    compression = structure.number(main, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        return f"is compressed as {_ODD_COMPRESSIONS.get(compression, f'number {compression}')}"
    if number_format in _FORMATS:
        return f"stores {_FORMATS[number_format]} samples of {bits[0]} bits"
    if len(set(bits)) > 1:
        return f"stores samples of differing depths {list(bits)}"
    if bits[0] not in _DEPTHS or (bits[0] < 8 and samples > 1):
        return f"stores {'colour ' if samples > 1 else ''}samples of {bits[0]} bits"
    if colour not in _COLOURS:
        return f"stores its colours as {_ODD_COLOURS.get(colour, f'photometric interpretation {colour}')}"
    if not 0 <= samples - _COLOURS[colour] <= (colour in _WITH_ALPHA):
        return f"stores {samples} samples a pixel"
    if colour == _PALETTE and bits[0] > 8:
        return f"stores a palette of {bits[0]} bits"
    if _is_plain_ycbcr(structure, main) and (
        bits[0] != 8
        or samples != 3
        or structure.number(main, _PLANES, 1) != 1
        or any(not _holds(structure, main, tag, usual) for tag, usual in _USUAL_YCBCR.items())
    ):
        return "stores its colours as YCbCr of a kind that is rare"
    planes = structure.number(main, _PLANES, 1) != 1 and samples > 1
    if planes and (samples == 2 or _TILE_WIDTH in main.entries):
        # libvips 8.18 gives wrong pixels for the one and an error for the other.
        return f"stores {samples} samples a pixel in separate planes"
    return ""


def _holds(structure: TiffStructure, page: Ifd, tag: int, usual: tuple[float, ...]) -> bool:
    """Whether a tag of fractions is absent or has the usual values."""
    entry = page.entries.get(tag)
    if entry is None:
        return True
    if (entry.kind, entry.number) != (_FRACTION, len(usual)):
        return False
    stored = structure.data[entry.start : entry.start + entry.size]
    values = np.frombuffer(stored, structure.order + "u4").reshape(-1, 2)
    return np.allclose(values[:, 0], values[:, 1] * np.asarray(usual), rtol=1e-3)


# ---------------------------------------------------------------------------------------------------- writing


def encode_tiff(photo: Photo) -> list[bytes]:
    """A file in pieces, to be written one after the other: deflate with horizontal differences.

    An EXIF block is itself a TIFF structure. The file begins with it, so that all offsets in it stay right
    (in maker notes, too); strips of pixels follow, then an IFD with EXIF's entries and the image's.
    """
    head, *pieces = tiff_pieces(photo)
    start = pieces.pop()
    return [head[:4] + start + head[8:], *pieces]


def tiff_pieces(photo: Photo) -> Iterator[bytes]:
    """The same as it is made: at last the four bytes that are to stand at offset 4 of the file."""
    kept = photo.metadata
    block = bytearray(b"II*\0\0\0\0\0" if kept.exif is None else kept.exif + bytes(len(kept.exif) % 2))
    structure = TiffStructure(block)
    order = structure.order
    height, width, channels = photo.pixels.shape
    samples, item = channels + (photo.alpha is not None), photo.pixels.dtype.itemsize
    rows = max(1, _STRIP_BYTES // (width * samples * item))
    yield bytes(block)
    sizes = []
    for strip in _strips(photo, rows, order):
        sizes.append(len(strip))
        yield strip
    starts = [*itertools.accumulate(sizes, initial=len(block))]

    def numbers(kind: int, *values: int) -> Values:
        code = "H" if kind == _SHORT else "I"
        return kind, len(values), struct.pack(f"{order}{len(values)}{code}", *values)

    described = structure.ifd(structure.first)
    tags: dict[int, Values] = {
        tag: values for tag, values in stored_values(structure, described).items() if tag in DESCRIPTIVE
    }
    if kept.density is not None:
        tags |= kept.density.tags(order)
    elif described is not None and structure.number(described, _RESOLUTION_UNIT, 2) not in (1, 2, 3):
        tags = {tag: values for tag, values in tags.items() if tag not in (_X, _Y, _RESOLUTION_UNIT)}
    tags |= {
        _WIDTH: numbers(_LONG, width),
        _HEIGHT: numbers(_LONG, height),
        _BITS: numbers(_SHORT, *(8 * item,) * samples),
        _COMPRESSION: numbers(_SHORT, 8),
        _PHOTOMETRIC: numbers(_SHORT, 1 if channels == 1 else 2),
        _STRIP_STARTS: numbers(_LONG, *starts[:-1]),
        ORIENTATION: numbers(_SHORT, 1),
        _SAMPLES: numbers(_SHORT, samples),
        _STRIP_ROWS: numbers(_LONG, rows),
        _STRIP_SIZES: numbers(_LONG, *sizes),
        _PLANES: numbers(_SHORT, 1),
        _PREDICTOR: numbers(_SHORT, 2),
        _FORMAT: numbers(_SHORT, *(1,) * samples),
    }
    if photo.alpha is not None:
        tags[_EXTRA_SAMPLES] = numbers(_SHORT, 2)
    if kept.xmp is not None:
        tags[_XMP] = (_BYTE, len(kept.xmp), kept.xmp)
    if kept.iptc is not None:
        tags[_IPTC] = (_UNDEFINED, len(kept.iptc), kept.iptc)
    if kept.icc is not None:
        tags[_ICC] = (_UNDEFINED, len(kept.icc), kept.icc)
    padding = bytes(starts[-1] % 2)
    at = starts[-1] + len(padding)
    yield padding
    yield ifd_bytes(order, at, tags)
    yield struct.pack(order + "I", at)


def _strips(photo: Photo, rows: int, order: str) -> Iterator[bytes]:
    """Compressed strips; of each pixel its difference from the one to its left is stored."""
    for top in range(0, photo.pixels.shape[0], rows):
        strip: Pixels = photo.pixels[top : top + rows]
        if photo.alpha is not None:
            strip = np.dstack([strip, photo.alpha[top : top + rows]])
        differences = strip.astype(strip.dtype.newbyteorder(order))  # type: ignore[arg-type]
        differences[:, 1:] -= strip[:, :-1]
        yield zlib.compress(differences.tobytes(), 4)
        release(photo.pixels)
