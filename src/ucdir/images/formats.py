"""One reader for each kind of file: what its header says is checked before anything is decoded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ucdir.errors import ImageError
from ucdir.images import decode
from ucdir.images.avif import frames_of_avif, is_monochrome_avif
from ucdir.images.gif import gif_header
from ucdir.images.jpeg import estimate_quality, jpeg_header, without_junk
from ucdir.images.metadata import exif_of_text, exif_of_tiff, orientation_of
from ucdir.images.paths import shown
from ucdir.images.photo import Metadata
from ucdir.images.png import png_header
from ucdir.images.tiff import tiff_header, with_valid_orientation
from ucdir.limits import MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE, MAX_JPEG_SCANS


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds.

    Args:
        decoded: pixels as stored.
        metadata: blocks as stored, not yet checked.
        orientation: EXIF orientation still to be applied; values other than 2..8 mean none.
        frames: how many frames or pages there are.
        jpeg_quality: 1..100, or None.
    """

    decoded: decode.Decoded
    metadata: Metadata = field(default_factory=Metadata)
    orientation: int = 1
    frames: int = 1
    jpeg_quality: int | None = None


def read_jpeg(path: Path, data: bytes) -> Contents:
    """Baseline and progressive JPEG of 8 bits a sample: grey, RGB, CMYK."""
    header = jpeg_header(data)
    if header.precision:
        check_size(path, header.width, header.height)
        if header.precision != 8:
            raise ImageError(
                f"{shown(path)} is a JPEG file of {header.precision} bits a sample, which ucdir does not "
                "read; convert it to a 16-bit PNG or TIFF first."
            )
    if (scans := data.count(b"\xff\xda")) > MAX_JPEG_SCANS:
        raise ImageError(
            f"{shown(path)} is a JPEG file of {scans} scans, more than the {MAX_JPEG_SCANS} that ucdir "
            "decodes; save it anew."
        )
    image = _open(path, "JPEG", without_junk(data, header))
    fields = _Fields(image)
    return Contents(
        decode.decode_with_vips(image), fields.metadata(), fields.orientation(), 1, estimate_quality(header)
    )


def read_png(path: Path, data: bytes) -> Contents:
    """PNG of 1 to 16 bits a sample, and the first frame of APNG."""
    header = png_header(data)
    check_size(path, header.width, header.height)
    image = _open(path, "PNG", data)
    fields = _Fields(image)
    metadata, orientation = fields.metadata(), fields.orientation()
    if metadata.exif is None and (exif := exif_of_text(fields.comment("Raw profile type exif"))):
        metadata = Metadata(exif, metadata.icc, metadata.xmp)
        orientation = orientation_of(exif)
    return Contents(decode.decode_with_vips(image), metadata, orientation, header.frames)


def read_tiff(path: Path, data: bytes) -> Contents:
    """The first page of TIFF or BigTIFF of 1 to 16 bits a sample; libvips divides premultiplied alpha out."""
    header = tiff_header(data, path)
    check_size(path, header.width, header.height)
    image = _open(path, "TIFF", with_valid_orientation(data, header))
    fields = _Fields(image)
    metadata = Metadata(exif_of_tiff(header.structure, header.main), *fields.icc_and_xmp())
    decoded = decode.decode_with_vips(image)
    return Contents(decoded, metadata, fields.orientation(), header.pages)


def read_webp(path: Path, data: bytes) -> Contents:
    """Lossy and lossless WebP; the first frame of an animation."""
    _open(path, "WebP", data)
    image = decode.open_with_pillow("WebP", data)
    check_size(path, *image.size)
    exif = image.info.get("exif")
    metadata = Metadata(exif, image.info.get("icc_profile"), image.info.get("xmp"))
    orientation = orientation_of(exif) if exif else 1
    return Contents(decode.decode_with_pillow(image), metadata, orientation, image.n_frames)


def read_avif(path: Path, data: bytes) -> Contents:
    """AVIF of 8 to 12 bits a sample; its turn is part of its coding, whatever its EXIF says."""
    image = _open(path, "AVIF", data)
    fields = _Fields(image)
    decoded = decode.decode_with_vips(image)
    if is_monochrome_avif(data):
        decoded = decode.one_channel(decoded)
    return Contents(decoded, fields.metadata(), 1, max(fields.frames(), frames_of_avif(data)))


def read_gif(path: Path, data: bytes) -> Contents:
    """The first frame of GIF, transparent where it leaves the screen open."""
    header = gif_header(data)
    check_size(path, header.width, header.height)
    check_size(path, header.frame_width, header.frame_height)
    image = _open(path, "GIF", data)
    frames = _Fields(image).frames()
    decoded = decode.decode_with_vips(image)
    if not header.covered:
        decoded = decode.transparent_outside(
            decoded, header.left, header.top, header.frame_width, header.frame_height
        )
    return Contents(decoded, frames=frames)


def read_bmp(path: Path, data: bytes) -> Contents:
    """BMP of 1 to 32 bits a pixel."""
    image = decode.open_with_pillow("BMP", data)
    check_size(path, *image.size)
    return Contents(decode.decode_with_pillow(image))


READERS: Final[Mapping[str, Callable[[Path, bytes], Contents]]] = {
    "JPEG": read_jpeg,
    "PNG": read_png,
    "TIFF": read_tiff,
    "WebP": read_webp,
    "AVIF": read_avif,
    "GIF": read_gif,
    "BMP": read_bmp,
}


def check_size(path: Path, width: int, height: int) -> None:
    """Refuses an image that is empty or larger than `limits.py` allows."""
    if min(width, height) < 1:
        raise ImageError(f"{shown(path)} has no pixels ({width} x {height}); get a complete copy of it.")
    if max(width, height) > MAX_IMAGE_SIDE or width * height > MAX_IMAGE_PIXELS:
        raise ImageError(
            f"{shown(path)} is {width} x {height} pixels, more than ucdir opens ({MAX_IMAGE_PIXELS:,} in "
            f"all, {MAX_IMAGE_SIDE:,} a side); cut it into parts."
        )


def _open(path: Path, kind: str, data: bytes) -> Any:
    """An image of libvips of permitted size, not yet decoded."""
    image = decode.open_with_vips(kind, data)
    check_size(path, image.width, image.height)
    return image


class _Fields:
    """The fields of an image of libvips."""

    def __init__(self, image: Any) -> None:
        self._image = image

    def _get(self, name: str) -> Any:
        return self._image.get(name) if self._image.get_typeof(name) else None

    def icc_and_xmp(self) -> tuple[bytes | None, bytes | None]:
        return self._get("icc-profile-data"), self._get("xmp-data")

    def metadata(self) -> Metadata:
        return Metadata(self._get("exif-data"), *self.icc_and_xmp())

    def orientation(self) -> int:
        return int(self._get("orientation") or 1)

    def frames(self) -> int:
        return int(self._get("n-pages") or 1)

    def comment(self, keyword: str) -> str:
        """A text chunk of a PNG file; empty where it is absent."""
        names = (name for name in self._image.get_fields() if name.startswith("png-comment-"))
        return next((str(self._get(name)) for name in names if name.endswith(f"-{keyword}")), "")
