"""Writes a photograph that lies in a file to another one as it is encoded, with what `write` keeps beside the pixels.

.png .jpg .tif .bmp   row by row; from `TILED_PIXELS` on TIFF is tiled, with smaller copies (a pyramid), and BigTIFF
.dzi                  a DeepZoom folder of tiles, for viewers in web pages
.webp .avif .dng      held in memory, as their encoders need it
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ucdir.errors import OutputError
from ucdir.images.atomic import atomic_fill, check_path, move_into_place, refusal, temporary_folder, write_all
from ucdir.images.decode import vips
from ucdir.images.paths import shown
from ucdir.images.photo import Metadata, Photo
from ucdir.images.pixels import to_uint8
from ucdir.images.tiff import tiff_pieces
from ucdir.images.write import (
    DEEP_ZOOM,
    FOLDERS,
    FORMATS,
    EncodeError,
    cannot_be_encoded,
    format_of,
    png_with_metadata,
    said_of,
    write,
)
from ucdir.memory import RELEASED_BYTES, as_text, check_free, copied, release

TILED_PIXELS: Final = 100_000_000
"""TIFF files of more pixels are tiled, with smaller copies, so that viewers need not read all of them."""
_WHOLE_BYTES_PER_PIXEL: Final = {".avif": 48, ".dng": 12, ".webp": 16}
"""Memory that encoders take which hold the whole image: measured, and a little more."""
_HEAD_BYTES: Final = 16 << 20


def write_large(
    photo: Photo, path: Path, *, force: bool = False, times_of: Path | None = None
) -> tuple[str, ...]:
    """As `write`, but in little memory if the pixels lie in a file, and `.dzi` too.

    Args:
        photo: its pixels, and alpha beside them, are parts of one array [H,W,channels].
        path: the file, taken literally.
        force: whether a file that exists is replaced.
        times_of: a file whose times of access and change the new one gets.

    Raises:
        OutputError: as `write`.
        DeviceError: the memory does not hold the image, where the format needs it to.
    """
    suffix = path.suffix.lower()
    if suffix == DEEP_ZOOM:
        return _write_deep_zoom(photo, path, force=force)
    chosen = format_of(path, photo)
    if suffix not in _ENCODERS:
        check_encoder(path, *photo.pixels.shape[:2])
        return write(photo, path, force=force, times_of=times_of)
    photo, dropped = chosen.holding(photo)
    encode = _ENCODERS[suffix]
    if encode is _tiff and photo.pixels.shape[0] * photo.pixels.shape[1] > TILED_PIXELS:
        encode = _tiled_tiff
        if photo.metadata.exif is not None:
            dropped.append("EXIF, as it is so large")
        if photo.metadata.density is not None and not photo.metadata.density.absolute:
            dropped.append("density")

    def fill(descriptor: int, name: Path) -> None:
        try:
            encode(photo, descriptor, name)
        except EncodeError as error:
            raise cannot_be_encoded(path, chosen, error) from error

    atomic_fill(fill, path, force=force, times_of=times_of)
    return said_of(dropped, chosen, path)


def check_encoder(path: Path, height: int, width: int) -> None:
    """Refuse at once what `write_large` would refuse after hours of work: what an encoder has to hold.

    Raises:
        DeviceError: the memory does not hold it.
    """
    suffix = path.suffix.lower()
    if suffix in _WHOLE_BYTES_PER_PIXEL:
        name = FORMATS[suffix].name
        what = f"{shown(path)}: {name} of {width}x{height} pixels, which .png, .jpg and .tif would not hold in memory"
        check_free(height * width * _WHOLE_BYTES_PER_PIXEL[suffix], what)


def disk_bytes(path: Path, raw_bytes: int) -> int:
    """What a file may take at most that is written of so many bytes of samples."""
    return int(raw_bytes * (1.4 if path.suffix.lower() in (".tif", ".tiff", DEEP_ZOOM) else 1.05)) + (1 << 20)


# ------------------------------------------------------------------------------------------------------------ encoders


def _png(photo: Photo, descriptor: int, _: Path) -> None:
    """Without its chunks of pixels `png_with_metadata` takes the head of a file as well."""

    def head(data: bytes) -> bytes | None:
        return b"".join(png_with_metadata(data, photo.metadata)) if b"IDAT" in data else None

    with _image(photo) as image:
        _write_stream(image.pngsave_target, descriptor, head, compression=6, filter="all", keep="none")


_SMALL_JPEG: Final = FORMATS[".jpg"].encode
_SMALL_BMP: Final = FORMATS[".bmp"].encode


def _jpeg(photo: Photo, descriptor: int, _: Path) -> None:
    """The segments before the tables are those of a small file with the same metadata."""
    small = replace(photo, pixels=np.ascontiguousarray(photo.pixels[:8, :8]), alpha=None)
    segments = b"".join(_SMALL_JPEG(small))

    def head(data: bytes) -> bytes | None:
        tables = _first_table(data)
        return None if tables is None else segments[: _first_table(segments)] + data[tables:]

    with _image(photo, bits=8) as image:
        _write_stream(image.jpegsave_target, descriptor, head, Q=95, subsample_mode="off", keep="none")


def _first_table(data: bytes) -> int | None:
    """Where the quantisation tables of a JPEG file begin; None where its head is cut off before them."""
    at = 2
    while at + 4 <= len(data) and data[at + 1] != 0xDB:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at if at + 4 <= len(data) else None


def _bmp(photo: Photo, descriptor: int, _: Path) -> None:
    """Rows from the lowest up, blue before red; the header is that of a small file."""
    height, width, channels = photo.pixels.shape
    row = (width * channels + 3) // 4 * 4
    small = b"".join(_SMALL_BMP(replace(photo, pixels=np.ascontiguousarray(photo.pixels[:1, :1]))))
    start = int.from_bytes(small[10:14], "little")
    head = bytearray(small[:start])
    for at, value in {2: start + row * height, 18: width, 22: height, 34: row * height}.items():
        struct.pack_into("<I", head, at, value)
    write_all(descriptor, bytes(head))
    count = max(1, RELEASED_BYTES // row)
    for bottom in range(height, 0, -count):
        band = slice(max(bottom - count, 0), bottom)
        rows = to_uint8(copied(photo.pixels, band, slice(0, width)))[::-1, :, ::-1]
        padded = np.zeros((len(rows), row), np.uint8)
        padded[:, : width * channels] = rows.reshape(len(rows), -1)
        write_all(descriptor, padded.tobytes())


def _tiff(photo: Photo, descriptor: int, _: Path) -> None:
    last = b""  # which is not the next piece of the file, but belongs at its beginning
    for piece in tiff_pieces(photo):
        write_all(descriptor, last)
        last = piece
    os.pwrite(descriptor, last, 4)


def _tiled_tiff(photo: Photo, _: int, name: Path) -> None:
    raw = photo.pixels.nbytes + (0 if photo.alpha is None else photo.alpha.nbytes)
    with _image(photo) as image:
        _with_metadata(image, photo.metadata, ("icc", "xmp", "iptc")).tiffsave(
            str(name), tile=True, tile_width=256, tile_height=256, pyramid=True, compression="deflate",
            predictor="horizontal", bigtiff=disk_bytes(Path("x.tif"), raw) >= 1 << 32, keep="all",
        )  # fmt: skip


_ENCODERS: Final[dict[str, Callable[[Photo, int, Path], None]]] = {
    ".bmp": _bmp, ".jpeg": _jpeg, ".jpg": _jpeg, ".png": _png, ".tif": _tiff, ".tiff": _tiff,
}  # fmt: skip


def _write_deep_zoom(photo: Photo, path: Path, *, force: bool) -> tuple[str, ...]:
    """`NAME.dzi` and the folder `NAME_files` of tiles: JPEG of quality 95, or PNG where there is transparency."""
    check_path(path, force=force)
    tiles = path.with_name(f"{path.stem}_files")
    if os.path.lexists(tiles) and not force:
        raise refusal(FileExistsError(), tiles)
    suffix = ".jpg[Q=95]" if photo.alpha is None else ".png"
    try:
        with temporary_folder(path.parent) as folder, _image(photo, bits=8) as image:
            _with_metadata(image, photo.metadata, ("icc",)).dzsave(
                str(folder / path.stem), suffix=suffix, keep="icc"
            )
            with _in_place_of(tiles, folder / "replaced"):
                (folder / tiles.name).rename(tiles)
                move_into_place(folder / path.name, path, force=force)
    except EncodeError as error:
        raise cannot_be_encoded(path, FOLDERS[DEEP_ZOOM], error) from error
    except OSError as error:
        raise refusal(error, path) from error
    return said_of(FOLDERS[DEEP_ZOOM].holding(photo)[1], FOLDERS[DEEP_ZOOM], path)


@contextmanager
def _in_place_of(folder: Path, aside: Path) -> Iterator[None]:
    """Put a folder aside, if it is there, while another takes its name; back again where that fails."""
    there = os.path.lexists(folder)
    if there:
        folder.rename(aside)
    try:
        yield
    except BaseException:
        if os.path.lexists(folder):
            folder.rename(aside.with_name("unfinished"))
        if there:
            aside.rename(folder)
        raise


# ------------------------------------------------------------------------------------------------------------- libvips


@contextmanager
def _image(photo: Photo, bits: int = 16) -> Iterator[Any]:
    """An image of libvips of a photograph's samples, of at most so many bits; what it has read is released.

    Raises:
        EncodeError: libvips gave up.
        OSError: the disk is full.
    """
    samples = _joined(photo)
    height, width, channels = samples.shape
    kind = "ushort" if samples.dtype == np.uint16 else "uchar"
    try:
        # which must not be forgotten before the end, or its signal would call a function that is gone
        first = image = vips().Image.new_from_memory(samples.data, width, height, channels, kind)
        done, pixel_bytes = 0, samples.nbytes // (height * width)

        def evaluated(_: Any, progress: Any) -> None:
            nonlocal done
            if (progress.npels - done) * pixel_bytes > RELEASED_BYTES:
                done = progress.npels
                release(samples)

        first.set_progress(True)
        first.signal_connect("eval", evaluated)
        if kind == "ushort" and bits == 8:
            table = to_uint8(np.arange(65_536, dtype=np.uint16))
            image = image.maplut(vips().Image.new_from_memory(table.data, 65_536, 1, 1, "uchar"))
            kind = "uchar"
        names = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16")}[kind]
        yield image.copy(interpretation=names[photo.pixels.shape[2] == 3])
    except vips().Error as error:
        if "No space left" in str(error) or "write error" in str(error):
            raise OSError(28, os.strerror(28)) from error
        raise EncodeError(str(error)) from error


def _joined(photo: Photo) -> Any:
    """The samples with alpha, [H,W,channels], contiguous; of an array in a file the array itself."""
    pixels, alpha = photo.pixels, photo.alpha
    if alpha is None:
        return np.ascontiguousarray(pixels)
    base: Any = pixels.base
    channels = pixels.shape[2] + 1
    if isinstance(base, np.ndarray) and base.shape == (*pixels.shape[:2], channels) and alpha.base is base:
        return base
    return np.dstack([pixels, alpha])


def _with_metadata(image: Any, kept: Metadata, names: Sequence[str]) -> Any:
    image = image.copy()
    fields = {"icc": "icc-profile-data", "xmp": "xmp-data", "iptc": "iptc-data"}
    for name in names:
        block = getattr(kept, name)
        if block is not None:
            image.set_type(vips().GValue.blob_type, fields[name], block)
    if kept.density is not None and kept.density.absolute:
        across, down = kept.density.x / 25.4, kept.density.y / 25.4
        image = image.copy(xres=across, yres=down)
    return image


def _write_stream(
    save: Callable[..., Any], descriptor: int, head: Callable[[bytes], bytes | None], **settings: Any
) -> None:
    """Write what libvips encodes, its first bytes changed by a function as soon as that has enough of them.

    Raises:
        OSError: it cannot be written.
    """
    kept: bytes | None = b""
    failures: list[BaseException] = []

    def write(piece: Any) -> int:
        nonlocal kept
        data = bytes(piece)
        try:
            if kept is None:
                write_all(descriptor, data)
            else:
                kept += data
                if (changed := head(kept)) is not None or len(kept) > _HEAD_BYTES:
                    write_all(descriptor, kept if changed is None else changed)
                    kept = None
        except BaseException as error:  # noqa: BLE001 (raised below; libvips is told that nothing was written)
            failures.append(error)
            return -1
        return len(data)

    target = vips().TargetCustom()
    target.on_write(write)
    try:
        save(target, **settings)
    finally:
        if failures:
            raise failures[0]


def check_disk(folder: Path, needed: int, path: Path) -> None:
    """Refuse what does not fit the disk before it is begun.

    Raises:
        OutputError: less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{shown(path)}: up to {as_text(needed)} of disk space is needed in {shown(folder)}, and "
            f"{as_text(free)} is free; free some space, or choose another folder."
        )
