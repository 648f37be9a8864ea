"""Writes a photograph: the suffix chooses the format, and the file appears whole or not at all."""

from pathlib import Path
from typing import Final

from ucdir.errors import OutputError, reason
from ucdir.images.encode import FORMATS, EncodeError, Format, without_exif
from ucdir.images.paths import atomic_write, check_path, shown
from ucdir.images.photo import Photo

WRITABLE_SUFFIXES: Final = tuple(FORMATS)
"""In lower case; upper case is the same."""


def check_writable(path: Path, *, force: bool = False, photo: Photo | None = None) -> None:
    """Refuses at once what `write` would refuse after hours of work.

    Args:
        path: the file to be written.
        force: whether a file that exists may be replaced.
        photo: if given, whether the format holds its size and transparency is checked too.

    Raises:
        OutputError: as `write`, except for a disk that is full by then.
    """
    chosen = _format(Path(path))
    if photo is not None:
        _check_fit(photo, chosen, Path(path))
    check_path(Path(path), force=force)


def write(photo: Photo, path: Path, *, force: bool = False) -> tuple[str, ...]:
    """Writes a photograph with its EXIF (orientation 1), colour profile, XMP and transparency.

    PNG and TIFF keep 16 bits; the other formats get values rounded to 8. JPEG is of quality 95 and 4:4:4.

    Args:
        photo: the photograph.
        path: the file, taken literally; its suffix is one of `WRITABLE_SUFFIXES`.
        force: whether a file that exists is replaced.

    Returns:
        One sentence for each piece of metadata that the format cannot hold.

    Raises:
        OutputError: the suffix is unknown, the format cannot hold the size or transparency, the file exists
            (without `force`), or it cannot be written. Then nothing is left behind.
    """
    path = Path(path)
    chosen = _format(path)
    _check_fit(photo, chosen, path)
    check_path(path, force=force)
    photo, dropped = chosen.fitted(photo)
    try:
        try:
            pieces = chosen.encode(photo)
        except EncodeError:
            # Pillow takes apart the EXIF of some formats and stumbles over what cameras wrote into it.
            if photo.metadata.exif is None:
                raise
            pieces = chosen.encode(without_exif(photo))
            dropped.append("EXIF")
    except EncodeError as error:
        raise OutputError(
            f"{shown(path)} cannot be encoded as {chosen.name} ({reason(error)}); choose another "
            "format, such as PNG."
        ) from error
    atomic_write(pieces, path, force=force)
    return tuple(f"{shown(path)}: {chosen.name} cannot hold the photograph's {name}." for name in dropped)


def _format(path: Path) -> Format:
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise OutputError(
            f"{shown(path)} has the unknown suffix {path.suffix!r}; choose one of "
            f"{', '.join(WRITABLE_SUFFIXES)}."
        )
    return found


def _check_fit(photo: Photo, chosen: Format, path: Path) -> None:
    height, width = photo.pixels.shape[:2]
    if photo.alpha is not None and not chosen.alpha:
        names = ", ".join(suffix for suffix, other in FORMATS.items() if other.alpha)
        raise OutputError(
            f"{shown(path)} cannot hold the photograph's transparency as {chosen.name}; choose one of "
            f"{names}."
        )
    if max(width, height) > chosen.side:
        raise OutputError(
            f"{shown(path)} cannot hold {width} x {height} pixels as {chosen.name}, which ends at "
            f"{chosen.side:,} a side; choose .png or .tif."
        )
