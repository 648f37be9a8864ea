"""What a TIFF file holds, checked before it is decoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ucdir.errors import ImageError
from ucdir.images.ifd import Directory, Structure
from ucdir.images.paths import RAW_SUFFIXES, shown
from ucdir.images.signatures import RawFile

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_ORIENTATION, _SAMPLES, _PLANES, _TILE_WIDTH, _SUBIFDS, _FORMAT, _DNG_VERSION = (
    274,
    277,
    284,
    322,
    330,
    339,
    50706,
)

_FORMATS: Final = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
_DEPTHS: Final = (1, 2, 4, 8, 16)
_COLOURS: Final = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_WITH_ALPHA, _PALETTE = (1, 2, 5), 3
_ODD_COLOURS: Final = {4: "a mask", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32844: "LogL", 32845: "LogLuv"}
_RAW_COLOURS: Final = (32803, 34892)
_RAW_COMPRESSIONS: Final = (32767, 34713, 65000, 65535)
_COMPRESSIONS: Final = (1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50000, 50001)
_ODD_COMPRESSIONS: Final = {6: "old-style JPEG", 34676: "SGI LogLuv", 34677: "SGI LogLuv", 34925: "LZMA"}


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """What the first page says.

    Args:
        structure: the file's directories.
        main: the first page's directory.
        width: pixels.
        height: pixels.
        pages: full-size images in the file.
    """

    structure: Structure
    main: Directory
    width: int
    height: int
    pages: int


def tiff_header(data: bytes, path: Path) -> TiffHeader:
    """Reads the directories of a TIFF file.

    Raises:
        RawFile: it is a camera's RAW file.
        ImageError: the file is damaged, or of a depth or colour that is not read.
    """
    try:
        structure = Structure(data)
        pages = structure.directories()
    except ValueError:
        pages = []
    if not pages:
        raise ImageError(
            f"{shown(path)} is damaged or cut off (no TIFF directory can be read); get a complete copy of it."
        )
    main = pages[0]
    _refuse_raw(structure, pages, path)
    samples = structure.number(main, _SAMPLES, 1)
    _refuse_samples(structure, main, samples, path)
    return TiffHeader(
        structure,
        main,
        structure.number(main, _WIDTH, 0),
        structure.number(main, _HEIGHT, 0),
        sum(not structure.number(page, _SUBFILE, 0) & 5 for page in pages),
    )


def with_valid_orientation(data: bytes, header: TiffHeader) -> bytes:
    """The file with an orientation that does not exist, at which libtiff would give up, set to 1."""
    entry = header.main.entries.get(_ORIENTATION)
    if entry is None or 1 <= header.structure.number(header.main, _ORIENTATION, 1) <= 8:
        return data
    one = (1).to_bytes(entry.size, "little" if header.structure.order == "<" else "big")
    return data[: entry.place] + one + data[entry.place + entry.size :]


def _refuse_raw(structure: Structure, pages: list[Directory], path: Path) -> None:
    """The first page of a RAW file is often a thumbnail, which must not pass for the photograph."""
    subs = [structure.directory(offset) for offset in structure.numbers(pages[0], _SUBIFDS)]
    for page in (*pages, *(sub for sub in subs if sub is not None)):
        if (
            _DNG_VERSION in page.entries
            or structure.number(page, _PHOTOMETRIC, 0) in _RAW_COLOURS
            or structure.number(page, _COMPRESSION, 1) in _RAW_COMPRESSIONS
        ):
            raise RawFile
    if path.suffix.lower() in RAW_SUFFIXES:
        raise RawFile


def _refuse_samples(structure: Structure, main: Directory, samples: int, path: Path) -> None:
    bits = structure.numbers(main, _BITS) or (1,)
    formats = structure.numbers(main, _FORMAT) or (1,)
    colour = structure.number(main, _PHOTOMETRIC, 1)
    compression = structure.number(main, _COMPRESSION, 1)
    problem = ""
    if compression not in _COMPRESSIONS:
        problem = f"is compressed as {_ODD_COMPRESSIONS.get(compression, f'number {compression}')}"
    elif formats[0] in _FORMATS:
        problem = f"stores {_FORMATS[formats[0]]} samples of {bits[0]} bits"
    elif len(set(bits)) > 1:
        problem = f"stores samples of differing depths {list(bits)}"
    elif bits[0] not in _DEPTHS or (bits[0] < 8 and samples > 1):
        problem = f"stores {'colour ' if samples > 1 else ''}samples of {bits[0]} bits"
    elif colour not in _COLOURS:
        problem = f"stores its colours as {_ODD_COLOURS.get(colour, f'photometric interpretation {colour}')}"
    elif not 0 <= samples - _COLOURS[colour] <= (colour in _WITH_ALPHA):
        problem = f"stores {samples} samples a pixel"
    elif colour == _PALETTE and bits[0] > 8:
        problem = f"stores a palette of {bits[0]} bits"
    elif (
        structure.number(main, _PLANES, 1) != 1
        and samples > 1
        and (samples == 2 or _TILE_WIDTH in main.entries)
    ):
        # libvips 8.18 gives wrong pixels for the one and an error for the other.
        problem = f"stores {samples} samples a pixel in separate planes"
    if problem:
        raise ImageError(
            f"{shown(path)} {problem}, which ucdir does not read; convert it to a TIFF of 8 or 16 bits first."
        )
