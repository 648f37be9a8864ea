"""One reader for each kind of file: what its header says is checked before anything is decoded.

The text of an ImageError raised here continues a sentence that begins with the name of the file.
"""

import functools
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from ucdir.errors import ExtraError, ImageError
from ucdir.extras import optional_module
from ucdir.images.colour import ADOBE_RGB, Colour, colour_of_cicp, colour_of_png
from ucdir.images.decode import (
    PILLOW_ERRORS,
    DecodeError,
    check_memory,
    decode_with_pillow,
    decode_with_vips,
    has_jpeg_xl,
    open_with_pillow,
    open_with_vips,
    rgb_of_ycbcr,
)
from ucdir.images.density import Density
from ucdir.images.exif import TiffStructure, orientation_of, says_adobe_rgb
from ucdir.images.heif import code_points
from ucdir.images.iptc import has_paths, iptc_of_photoshop, resources_of_jpeg
from ucdir.images.jpeg import JpegHeader, decodable, estimate_quality, jpeg_header
from ucdir.images.large import JPEG_HEADER_BYTES, FileBytes, reading
from ucdir.images.photo import Metadata
from ucdir.images.pixels import Pixels
from ucdir.images.png import RAW_PROFILE, Texts, png_chunks, png_texts, raw_profile
from ucdir.images.tiff import PATHS, tiff_header, tiff_left_out, tiff_metadata
from ucdir.images.xmp import CREDENTIALS
from ucdir.limits import (
    MAX_JPEG_SCANS,
    MAX_METADATA_BYTES,
    MAX_PIXELS_OF_ANY_FILE,
    MAX_PIXELS_PER_BYTE,
)

_OTHER_HEIF: Final = "is coded in a way that libheif does not read here; convert it to a 16-bit PNG first."
_PNG_XMP: Final = "XML:com.adobe.xmp"

MAX_GIF_BLOCKS: Final = 100_000
"""Most blocks before the first frame that are skipped; each holds up to 255 bytes of comment."""
_BY_ROWS: Final = ("JPEG", "PNG", "TIFF")
_LEAST_BEHIND_BYTES: Final = 1 << 10
_LOOKED_AT_BYTES: Final = 1 << 20
DECODER_BYTES_PER_PIXEL: Final = 8
"""Memory that decoding takes for each pixel; a little more with some formats, less with most."""


@dataclass(slots=True)
class Contents:
    """What a file holds.

    Args:
        samples: [H,W,C] as stored; the last of 2 or 4 channels is alpha.
        metadata: blocks as stored, not yet checked.
        orientation: 1..8, still to be applied, where the format itself says it; else EXIF and XMP do.
        frames: how many frames or pages there are.
        converted: whether CMYK was converted to sRGB.
        jpeg_quality: 1..100, or None.
        left_out: what else the file holds and is not read.
        colour: what the file says of its colours without a profile.
        bytes_behind: how many follow the image and are no padding, such as a video.
    """

    samples: Pixels
    metadata: Metadata = field(default_factory=Metadata)
    orientation: int | None = None
    frames: int = 1
    converted: bool = False
    jpeg_quality: int | None = None
    left_out: tuple[str, ...] = ()
    colour: Colour | None = None
    bytes_behind: int = 0


def read_jpeg(data: bytes) -> Contents:
    """Baseline and progressive JPEG of 8 bits a sample: grey, RGB, CMYK."""
    header = jpeg_header(data[:JPEG_HEADER_BYTES] if isinstance(data, FileBytes) else data)
    if header.foreign:
        raise ImageError(f"is {header.foreign} file, which ucdir does not read; convert it to a PNG first.")
    if header.precision:
        check_size(header.width, header.height, len(data), by_rows=True)
        if header.precision != 8:
            raise ImageError(
                f"is a JPEG file of {header.precision} bits a sample, which ucdir does not read; convert it to a "
                "16-bit PNG or TIFF first."
            )
    if header.scans > MAX_JPEG_SCANS:
        raise ImageError(
            f"is a JPEG file of {header.scans} scans, more than the {MAX_JPEG_SCANS} that ucdir decodes; save it again."
        )
    contents = _contents(_open("JPEG", decodable(data, header)))
    contents.jpeg_quality = estimate_quality(header)
    resources = resources_of_jpeg(header.app(13))
    contents.metadata = replace(
        contents.metadata,
        exif=_exif(header) or contents.metadata.exif,
        iptc=iptc_of_photoshop(resources),
        density=next((found for body in header.app(0) if (found := Density.of_jfif(body))), None),
        texts=tuple(("Comment", comment) for comment in header.comments),
    )
    contents.frames = max([1, *map(_pictures, header.app(2))])
    if any(body.startswith(b"urn:iso:std:iso:ts:21496:-1\0") for body in header.app(2)):
        contents.left_out += ("gain map",)
    if b"MotionPhoto_Data" in data:  # as Samsung's files end
        contents.left_out += ("motion video",)
    if has_paths(resources):
        contents.left_out += (PATHS,)
    if any(b"c2pa" in body[:64] for body in header.app(11)):
        contents.left_out += (CREDENTIALS,)
    contents.bytes_behind = _bytes_behind(data, header.end)
    return contents


def _bytes_behind(data: bytes, end: int) -> int:
    """How many bytes follow an image that ends there (0: nobody knows), if they look like more than padding."""
    behind = len(data) - end if end else 0
    padding = not bytes(data[end : end + _LOOKED_AT_BYTES]).strip(b"\0\xff \t\r\n")
    return 0 if behind < _LEAST_BEHIND_BYTES or padding else behind


def _exif(header: JpegHeader) -> bytes:
    """EXIF of one segment, or of several that go on where the one before ended."""
    bodies = [body for body in header.app(1) if body.startswith(b"Exif\0\0")]
    return b"".join(
        body[6 * (number > 0) :]
        for number, body in enumerate(bodies)
        if number == 0 or body[6:8] not in (b"II", b"MM")
    )


def _pictures(segment: bytes) -> int:
    """How many pictures an APP2 segment of the Multi-Picture Format lists, 1 if it is none."""
    if not segment.startswith(b"MPF\0"):
        return 1
    try:
        structure = TiffStructure(segment[4:])
        main = structure.ifd(structure.first)
    except ValueError:
        return 1
    return 1 if main is None else structure.number(main, 0xB001, 1)


def read_png(data: bytes) -> Contents:
    """PNG of 1 to 16 bits a sample, and the first frame of APNG."""
    header, checksum = data[12:29], int.from_bytes(data[29:33], "big")
    if len(header) == 17 and zlib.crc32(header) == checksum:  # libpng refuses large sizes without naming them
        width, height = struct.unpack_from(">II", header, 4)
        check_size(width, height, len(data), by_rows=True)
    if b"IEND\xaeB`\x82" not in data:
        raise DecodeError("it ends before its last chunk")
    image = _open("PNG", data)
    contents = _contents(image)
    if (at := data.find(b"acTL", 0, data.find(b"IDAT"))) >= 0:
        contents.frames = int.from_bytes(data[at + 4 : at + 8], "big")
    _add_png_texts(contents, data)
    chunks: dict[bytes, bytes] = {}
    for name, body in png_chunks(data):
        chunks.setdefault(name, body)
    contents.colour = colour_of_png(chunks)
    if b"caBX" in chunks:
        contents.left_out += (CREDENTIALS,)
    if b"cICP" in chunks:  # overrules iCCP
        contents.metadata = replace(contents.metadata, icc=None)
    return contents


def _add_png_texts(contents: Contents, data: bytes) -> None:
    """Add a PNG file's texts, its density, and the EXIF, XMP and IPTC that ImageMagick puts into texts."""
    found = contents.metadata
    texts, complete = png_texts(data, MAX_METADATA_BYTES)
    if not complete:
        contents.left_out += ("further texts",)
    xmp = next((text.encode() for keyword, text in texts if keyword == _PNG_XMP), None)
    iptc = raw_profile(texts, "iptc", "8bim")
    contents.metadata = replace(
        found,
        exif=found.exif or raw_profile(texts, "exif", "APP1"),
        xmp=found.xmp or xmp or raw_profile(texts, "xmp"),
        iptc=iptc and (iptc_of_photoshop(resources_of_jpeg([iptc])) or iptc_of_photoshop(iptc) or iptc),
        density=next((Density.of_phys(body) for name, body in png_chunks(data) if name == b"pHYs"), None),
        texts=tuple(text for text in texts if not text[0].startswith((RAW_PROFILE, _PNG_XMP))),
    )


def read_tiff(data: bytes) -> Contents:
    """The first full-size page of TIFF or BigTIFF of 1 to 16 bits a sample; libvips divides premultiplied alpha out.

    Where it is not the first of all, what that says of the photograph counts, too.
    """
    header = tiff_header(data)
    check_size(header.width, header.height, len(data), by_rows=True)
    try:
        image = _open("TIFF", header.data, header.place)
        contents = _contents(rgb_of_ycbcr(image) if header.ycbcr else image)
    except DecodeError as error:
        if "compression support is not configured" not in str(error):
            raise
        name = str(error).partition(" compression support")[0].split()[-1]
        raise ImageError(
            f"is compressed as {name}, which this build of libtiff does not read; save it with LZW or Deflate first."
        ) from error
    last = contents.samples[:, :, -1]
    # libvips adds alpha to some kinds; and what is padding to the program that wrote it would hide the whole image
    padding = not header.alpha or (not header.says_alpha and not last.any())
    if padding and contents.samples.shape[2] in (2, 4):
        contents.samples = contents.samples[:, :, :-1]
    contents.colour = ADOBE_RGB if says_adobe_rgb(data) else None
    own, first = tiff_metadata(data, header.ifd), tiff_metadata(data)
    contents.metadata = replace(
        own, icc=contents.metadata.icc, xmp=own.xmp or first.xmp, iptc=own.iptc or first.iptc
    )
    contents.left_out = tiff_left_out(data)
    contents.orientation = orientation_of(data, header.ifd) or orientation_of(data)
    contents.frames = header.pages
    return contents


def read_webp(data: bytes) -> Contents:
    """Lossy and lossless WebP; the first frame of an animation."""
    width, height = _webp_size(data)
    check_size(width, height, len(data))  # libvips takes memory for the pixels when it opens one
    _open("WebP", data)
    image = open_with_pillow("WebP", data)
    check_size(image.width, image.height, len(data))
    exif = image.info.get("exif")
    metadata = Metadata(exif, image.info.get("icc_profile"), image.info.get("xmp"))
    return Contents(decode_with_pillow(image), metadata, frames=image.n_frames)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, as the first chunk says. Raises ValueError where there is none."""
    number = functools.partial(int.from_bytes, byteorder="little")
    match data[12:16]:
        case b"VP8X":
            return number(data[24:27]) + 1, number(data[27:30]) + 1
        case b"VP8L":
            sizes = number(data[21:25])
            return (sizes & 0x3FFF) + 1, (sizes >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return number(data[26:28]) & 0x3FFF, number(data[28:30]) & 0x3FFF
    raise ValueError("it has no image")


def read_avif(data: bytes) -> Contents:
    """AVIF of 8 to 12 bits a sample; its rotation is part of its coding, whatever its EXIF says."""
    contents = _contents(_open("AVIF", data))
    contents.orientation = 1
    contents.colour = _colour_of_heif(data)
    if b"tmap" in data[8 : min(int.from_bytes(data[:4], "big"), 256)]:
        contents.left_out += ("gain map",)
    if data[8:12] == b"avis" and (at := data.find(b"stsz")) >= 0:  # a sequence, with its table of sizes
        contents.frames = max(contents.frames, int.from_bytes(data[at + 12 : at + 16], "big"))
    channels = contents.samples.shape[2]
    if channels > 2 and _is_monochrome_avif(data):
        contents.samples = contents.samples[:, :, [0, 3] if channels == 4 else [0]]
    return contents


def _colour_of_heif(data: bytes) -> Colour | None:
    coded = code_points(data)
    return None if coded is None else colour_of_cicp(*coded)


def read_heic(data: bytes) -> Contents:
    """HEIC of 8 to 12 bits a sample, by libheif; its rotation is part of its coding, whatever its EXIF says."""
    try:
        heif = optional_module("pillow_heif", "heic", "reading it")
    except ExtraError as error:
        raise ImageError(f"is a HEIC image; {error}") from error
    try:
        file = heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        if not len(file):
            raise ImageError(_OTHER_HEIF)
        width, height = file.size
        check_size(width, height, len(data))
        info, bits = file.info, int(file.info["bit_depth"])
        samples: Pixels = np.array(file)
        premultiplied = bool(file.premultiplied_alpha)
    except (*PILLOW_ERRORS, RuntimeError) as error:
        if "Unsupported" in str(error):
            raise ImageError(_OTHER_HEIF) from error
        raise DecodeError(str(error)) from error
    samples = samples.reshape(height, width, -1)
    white = (1 << bits) - 1
    if premultiplied:
        opacity = np.maximum(samples[..., -1:], 1) / white
        samples[..., :-1] = np.rint(np.minimum(samples[..., :-1] / opacity, white))
    if bits > 8:
        samples = np.rint(samples * np.float32(65_535 / white)).astype(np.uint16)
    if samples.shape[2] == 4 and "chroma" not in info:  # grey, which libheif makes RGB if there is alpha
        samples = samples[..., [0, 3]]
    parts = {"depth map": info.get("depth_images"), "gain map or other auxiliary image": info.get("aux")}
    return Contents(
        samples,
        Metadata(info.get("exif"), info.get("icc_profile"), info.get("xmp")),
        orientation=1,
        frames=len(file),
        left_out=tuple(name for name, there in parts.items() if there),
        colour=_colour_of_heif(data),
    )


def read_jxl(data: bytes) -> Contents:
    """JPEG XL, where libvips was built with it; its rotation is part of its coding."""
    if not has_jpeg_xl():
        raise ImageError(
            "is a JPEG XL image, which this build of libvips does not read; convert it to a 16-bit PNG first."
        )
    contents = _contents(_open("JPEG XL", data))
    contents.orientation = 1
    return contents


def _is_monochrome_avif(data: bytes) -> bool:
    """Whether every coded image in an AVIF file is grey, as the configurations (av1C) in its header say.

    An alpha channel is coded as a grey image of its own, so one grey image does not say enough.
    """
    found, at = False, data.find(b"av1C")
    while 0 <= at < len(data) - 6:
        if not data[at + 6] & 0x10:
            return False
        found, at = True, data.find(b"av1C", at + 4)
    return found


def read_gif(data: bytes) -> Contents:
    """The first frame of GIF, transparent where it does not cover the screen."""
    (width, height, left, top, frame_width, frame_height), texts, start = _gif_header(data)
    check_size(width, height, len(data))
    check_size(frame_width, frame_height, len(data))
    try:
        contents = _contents(_open("GIF", data))
    except DecodeError:
        first = _first_frame(data, start)
        if first == data:
            raise
        contents = _contents(_open("GIF", first))
        contents.left_out += ("part after the first frame, which could not be read,",)
    if contents.samples.shape[2] in (2, 4) and (contents.samples[..., -1] == 255).all():
        contents.samples = contents.samples[..., :-1]  # a transparent colour that no pixel has
    contents.metadata = replace(contents.metadata, xmp=_gif_xmp(data), texts=texts)
    covered = left == top == 0 and frame_width >= width and frame_height >= height
    if covered or contents.samples.shape[2] in (2, 4):
        return contents
    alpha = np.zeros(contents.samples.shape[:2], dtype=np.uint8)
    alpha[top : top + frame_height, left : left + frame_width] = 255
    contents.samples = np.dstack([contents.samples, alpha])
    return contents


def _gif_xmp(data: bytes) -> bytes | None:
    """XMP in an application extension; 258 bytes follow it that make the whole pass for a chain of blocks."""
    start = data.find(b"\x21\xff\x0bXMP DataXMP") + 14
    end = data.find(b"\x01\xff\xfe\xfd\xfc", start)
    return data[start:end] if start >= 14 and end > start else None


def _first_frame(data: bytes, start: int) -> bytes:
    """The file up to the end of its first frame, which starts there; all of it if that has no end."""
    flags = data[start + 9]
    at = start + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return data if at >= len(data) else data[: at + 1] + b";"


def _gif_header(data: bytes) -> tuple[tuple[int, ...], Texts, int]:
    """Width and height of the screen, and the first frame's left, top, width and height on it; comments before that
    frame, and where it starts.

    Raises:
        ValueError: there is no frame.
    """
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        within = comment = False  # an extension, which is a chain of blocks that a block of length 0 ends
        text = bytearray()
        for _ in range(MAX_GIF_BLOCKS):
            if within:
                within = data[at] != 0
                text += data[at + 1 : at + 1 + data[at]] if comment else b""
                at += 1 + data[at]
            elif data[at] == 0x21:
                within, comment = True, data[at + 1] == 0xFE
                at += 2
            elif data[at] == 0x2C:
                sizes = (width, height, *struct.unpack_from("<HHHH", data, at + 1))
                return sizes, (("Comment", text.decode("latin-1")),) if text else (), at
            else:
                break
    except (struct.error, IndexError):
        pass
    raise ValueError("it has no frame")


def read_bmp(data: bytes) -> Contents:
    """BMP of 1 to 32 bits a pixel."""
    image = open_with_pillow("BMP", data)
    check_size(image.width, image.height, len(data))
    return Contents(decode_with_pillow(image), Metadata(icc=_bmp_profile(data), density=Density.of_bmp(data)))


def _bmp_profile(data: bytes) -> bytes | None:
    """The profile that a BMP file of version 5 holds, if it does."""
    if len(data) < 138 or struct.unpack_from("<I", data, 14)[0] != 124 or data[70:74] != b"DEBM":
        return None
    start, size = struct.unpack_from("<II", data, 126)
    return data[14 + start : 14 + start + size]


READERS: Final[Mapping[str, Callable[[bytes], Contents]]] = {
    "JPEG": read_jpeg,
    "PNG": read_png,
    "TIFF": read_tiff,
    "WebP": read_webp,
    "AVIF": read_avif,
    "HEIC": read_heic,
    "JPEG XL": read_jxl,
    "GIF": read_gif,
    "BMP": read_bmp,
}
"""By what `signatures.kind_of` says. They raise ImageError, or DecodeError or ValueError over damage."""


def check_size(width: int, height: int, size_bytes: int, *, by_rows: bool = False) -> None:
    """Refuse an image that is empty, or larger than `limits.py` allows, or allows for a file of this size.

    Args:
        width: in pixels.
        height: in pixels.
        size_bytes: of the file.
        by_rows: whether it can be decoded without being held in memory; then it is not asked for.

    Raises:
        ImageError: with the reason.
        MemoryError: there is not enough to decode it.
    """
    if min(width, height) < 1:
        raise ImageError(f"has no pixels ({width} x {height}); get a complete copy of it.")
    most = reading()
    if max(width, height) > most.side or width * height > most.pixels:
        advice = (
            "restore it from file to file with `ucdir restore`, which needs little memory, or cut it into parts"
            if most.folder is None or most.capped
            else "allow more with --max-pixels, or cut it into parts"
        )
        raise ImageError(
            f"is {width} x {height} pixels, more than ucdir opens ({most.pixels:,} in "
            f"all, {most.side:,} a side); {advice}."
        )
    if not most.any_proportion and width * height > MAX_PIXELS_OF_ANY_FILE + MAX_PIXELS_PER_BYTE * size_bytes:
        advice = (
            "" if most.folder is None or most.capped else f", or allow it with --max-pixels {width * height}"
        )
        raise ImageError(
            f"is {width} x {height} pixels in a file of {size_bytes:,} bytes, more than a photograph can be "
            f"compressed; get a complete copy of it, or save it smaller{advice}."
        )
    if not (by_rows and most.is_streamed(width, height)):
        check_memory(width * height * DECODER_BYTES_PER_PIXEL + size_bytes)


def _open(kind: str, data: bytes, place: Mapping[str, int] = MappingProxyType({})) -> Any:
    """An image of libvips of permitted size, not yet decoded; `place` as in `open_with_vips`."""
    image = open_with_vips(kind, data, place)
    by_rows = kind in _BY_ROWS and not image.get_typeof("interlaced")  # of PNG; progressive of JPEG
    check_size(image.width, image.height, len(data), by_rows=by_rows)
    return image


def _contents(image: Any) -> Contents:
    """What libvips knows of an image."""
    names = ("exif-data", "icc-profile-data", "xmp-data", "n-pages")
    exif, icc, xmp, pages = (image.get(name) if image.get_typeof(name) else None for name in names)
    return Contents(
        decode_with_vips(image),
        Metadata(exif, icc, xmp),
        frames=int(pages or 1),
        converted=image.interpretation == "cmyk",
    )
