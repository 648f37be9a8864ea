"""Paths: finding image files, printing names, and writing files whole or not at all, never over another unasked."""

import contextlib
import errno
import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ucdir.errors import DataError, OutputError

READABLE_SUFFIXES: Final = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
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
        *("dds", "exr", "hdr", "heic", "heif", "hif", "ico", "j2k", "jfif", "jp2", "jpe", "jxl", "jxr"),
        *("pbm", "pgm", "pnm", "ppm", "psd", "tga", "xcf"),
    )
)

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

logger = logging.getLogger(__name__)


def find_images(folder: Path, *, raw: bool = False) -> list[Path]:
    """All files below a folder whose names are of images that ucdir reads, in the order of their names.

    Images of other kinds are named in a warning. What macOS adds beside a file (`._photo.png`) is left out.

    Args:
        folder: where to search.
        raw: whether RAW files are wanted, too.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; name one that holds photographs.")
    images = {*READABLE_SUFFIXES, *RAW_SUFFIXES, *_OTHER_SUFFIXES}
    found = (p for p in folder.rglob("*") if p.suffix.lower() in images and not p.name.startswith("._"))
    files = sorted(file for file in found if file.is_file())
    read = {*READABLE_SUFFIXES, *(RAW_SUFFIXES if raw else ())}
    if left_out := [shown(file.relative_to(folder)) for file in files if file.suffix.lower() not in read]:
        names = ", ".join(left_out[:3] + ["…"] * (len(left_out) > 3))
        logger.warning("%s: %d images are of kinds that are not read here: %s", folder, len(left_out), names)
    return [file for file in files if file.suffix.lower() in read]


def shown(path: Path) -> str:
    """A path as it is printed: control characters and undecodable bytes escaped, at most 200 characters."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(path))
    return text if len(text) <= 200 else f"{text[:90]}...{text[-100:]}"


def default_output(photo: Path, folder: Path | None = None) -> Path:
    """`photo.restored.png`, beside the photograph or in a folder."""
    return (folder or photo.parent) / f"{photo.stem}.restored.png"


def atomic_write(pieces: Sequence[bytes | memoryview], path: Path, *, force: bool) -> None:
    """Write pieces to a file beside `path`, wait until the disk has them, and only then give it its name.

    Raises:
        OutputError: the disk is full, the folder missing or not writable, or `path` exists (without `force`).
    """
    check_path(path, force=force)
    temporary = _temporary(path)
    try:
        with os.fdopen(os.open(temporary, _NEW_FILE, 0o666), "wb", buffering=0) as file:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        if force:
            with contextlib.suppress(OSError):  # as readable as the file that it replaces
                temporary.chmod(path.stat().st_mode & 0o777)
            os.replace(temporary, path)  # noqa: PTH105
        else:
            _rename_to_new(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _refusal(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_path(path: Path, *, force: bool) -> None:
    """Refuse a path that `atomic_write` could not write, found out by creating an empty file beside it.

    Raises:
        OutputError: as `atomic_write`.
    """
    try:
        if path.is_dir():
            raise OutputError(f"{shown(path)} is a folder; name a file in it.")
        if not path.parent.exists():
            raise OutputError(
                f"{shown(path.parent)} does not exist; make that folder first or choose another."
            )
        if not path.parent.is_dir():
            raise OutputError(f"{shown(path.parent)} is not a folder; choose another.")
        if os.path.lexists(path):
            if not force:
                raise FileExistsError
            if not path.is_file() and not path.is_symlink():
                raise OutputError(f"{shown(path)} is a device or pipe; name an ordinary file.")
        probe = _temporary(path)
        os.close(os.open(probe, _NEW_FILE, 0o666))
        probe.unlink()
        path.lstat()  # refuses a name that is too long
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _refusal(error, path) from error


def _temporary(path: Path) -> Path:
    return path.with_name(f".ucdir-{secrets.token_hex(8)}.tmp")


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Give a file a name that must not exist yet, in one step."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links (FAT, some network drives): claim the name, then replace it.
        os.close(os.open(path, _NEW_FILE, 0o666))
        try:
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            path.unlink()
            raise


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refusal(error: OSError | ValueError, path: Path) -> OutputError:
    code = error.errno if isinstance(error, OSError) else None
    text = error.strerror if isinstance(error, OSError) else str(error)
    problem = f"cannot be written ({text}); choose another folder or name"
    if isinstance(error, FileExistsError):
        problem = "exists already; choose another name, or overwrite it with --force (in Python: force=True)"
    elif code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        problem = "cannot be written because the disk is full; free some space"
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
        problem = "may not be written; choose a folder that you may write to"
    return OutputError(f"{shown(path)} {problem}.")
