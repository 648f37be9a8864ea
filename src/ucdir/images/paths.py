"""Names of image files: finding them, printing them, and those of results."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ucdir.errors import DataError

READABLE_SUFFIXES: Final = tuple(
    f".{name}"
    for name in (
        *(
            "apng",
            "avif",
            "bmp",
            "dib",
            "gif",
            "heic",
            "heif",
            "hif",
            "jfif",
            "jif",
            "jpe",
            "jpeg",
            "jpg",
            "jxl",
        ),
        *("mpo", "png", "tif", "tiff", "webp"),
    )
)
"""Suffixes that make a file in a folder worth trying; `read` itself goes by content, whatever the name."""

RAW_SUFFIXES: Final = frozenset(
    f".{name}"
    for name in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos", "mrw"),
        *("nef", "nrw", "orf", "pef", "r3d", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
"""Suffixes of cameras' RAW files."""

_OTHER_SUFFIXES: Final = frozenset(
    f".{name}"
    for name in (
        *("dds", "exr", "hdr", "ico", "j2k", "jp2", "jxr"),
        *("pbm", "pgm", "pnm", "ppm", "psd", "tga", "xcf"),
    )
)

logger = logging.getLogger(__name__)


def find_images(
    folder: Path,
    *,
    raw: bool = False,
    results: bool = False,
    on_error: Callable[[Path, OSError], None] | None = None,
) -> list[Path]:
    """All files below a folder whose names are of images that ucdir reads, in the order of their names.

    Hidden files and folders are left out, among them what macOS adds beside a file (`._photo.png`); links to folders
    are not followed. Images of other kinds are named in a warning. A link that points nowhere counts as a file, so that
    whoever reads it says that it cannot be read.

    Args:
        folder: where to search.
        raw: whether RAW files are wanted, too.
        results: whether what `ucdir restore` wrote (`photo.restored.png`) is wanted, too.
        on_error: called with each folder that cannot be listed; by default a warning names it.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{shown(folder)}: there is no such folder; name one that holds photographs.")
    images = {*READABLE_SUFFIXES, *RAW_SUFFIXES, *_OTHER_SUFFIXES}
    files = sorted(
        file for file in files_below(folder, on_error or _warn_of_folder) if file.suffix.lower() in images
    )
    read = {*READABLE_SUFFIXES, *(RAW_SUFFIXES if raw else ())}
    if left_out := [shown(file.relative_to(folder)) for file in files if file.suffix.lower() not in read]:
        names = ", ".join(left_out[:3] + ["…"] * (len(left_out) > 3))
        logger.warning("%s: %d images are of kinds that are not read here: %s", folder, len(left_out), names)
    return [file for file in files if file.suffix.lower() in read and (results or not is_result(file))]


def files_below(folder: Path, on_error: Callable[[Path, OSError], None]) -> Iterator[Path]:
    """All files below a folder that are not hidden, in no order; `on_error` is called with what cannot be listed.

    See `is_file` for what counts as one.
    """
    left = [folder]
    while left:
        current = left.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        left.append(current / entry.name)
                    elif is_file(entry.path):
                        yield current / entry.name
        except OSError as error:
            on_error(current, error)


def is_file(path: str) -> bool:
    """Whether it is a file, or a link that points nowhere or in a circle, which is not passed over without a word."""
    # not `Path`, to which a link in a circle is an error
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))  # noqa: PTH110, PTH113, PTH114


def _warn_of_folder(folder: Path, error: OSError) -> None:
    logger.warning("%s: this folder is left out, as it cannot be read (%s)", shown(folder), error.strerror)


def is_result(file: Path) -> bool:
    """Whether the name is one that `ucdir restore` gives: `photo.restored.png`, `photo.restored-2.png`."""
    return re.search(r"\.restored(-\d+)?\.[^.]+$", file.name, re.IGNORECASE) is not None


def shown(path: Path) -> str:
    """A path as it is printed: control characters and undecodable bytes escaped, at most 200 characters."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(path))
    return text if len(text) <= 200 else f"{text[:90]}...{text[-100:]}"


def default_output(
    photo: Path, folder: Path | None = None, suffix: str = ".png", mark: str = ".restored"
) -> Path:
    """`photo.restored.png`, beside the photograph or in a folder."""
    return (folder or photo.parent) / fitting_name(photo.stem, f"{mark}{suffix}")


def fitting_name(stem: str, ending: str) -> str:
    """`stem` and `ending`, the stem cut where the name would be longer than the 255 bytes of most file systems."""
    while len(os.fsencode(stem + ending)) > 255:
        stem = stem[:-1]
    return stem + ending
