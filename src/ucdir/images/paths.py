"""Puts a finished file in its place: whole or not at all, and never over another unasked."""

import contextlib
import errno
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from ucdir.errors import OutputError
from ucdir.images.messages import shown


def default_output(photo: Path, folder: Path | None = None) -> Path:
    """`photo.restored.png`, beside the photograph or in a folder."""
    return (folder or photo.parent) / f"{photo.stem}.restored.png"


def atomic_write(pieces: Sequence[bytes | memoryview], path: Path, *, force: bool) -> None:
    """Writes pieces to a file beside `path`, waits until the disk has them, and only then gives it its name.

    Raises:
        OutputError: the disk is full, the folder missing or not writable, or `path` exists (without `force`).
    """
    check_path(path, force=force)
    temporary = path.with_name(f".ucdir-{secrets.token_hex(8)}.tmp")
    try:
        _write(pieces, temporary)
        if force:
            _keep_mode(temporary, path)
            os.replace(temporary, path)  # noqa: PTH105
        else:
            _rename_to_new(temporary, path)
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise OutputError(_sentence(error, path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_path(path: Path, *, force: bool) -> None:
    """Whether a file can be put there, found out by making an empty one beside it.

    Raises:
        OutputError: as `put`.
    """
    try:
        if path.is_dir():
            raise OutputError(f"{shown(path)} is a folder; name a file in it.")
        if not path.parent.exists():
            raise OutputError(
                f"{shown(path.parent)} does not exist; make that folder first or choose another."
            )
        if not path.parent.is_dir():
            raise OutputError(f"{shown(path.parent)} is not a folder; choose another place.")
        if os.path.lexists(path):
            if not force:
                raise _exists(path)
            if not path.is_file() and not path.is_symlink():
                raise OutputError(f"{shown(path)} is a device or pipe; name an ordinary file.")
        probe = path.with_name(f".ucdir-{secrets.token_hex(8)}.tmp")
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        probe.unlink()
        path.lstat()  # refuses a name that is too long
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise OutputError(_sentence(error, path)) from error


def _write(pieces: Sequence[bytes | memoryview], path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Gives a file a name that must not exist yet, in one step."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links (FAT, some network drives): claim the name, then replace it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        try:
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            path.unlink()
            raise


def _keep_mode(temporary: Path, path: Path) -> None:
    """A file that replaces another is as readable as that."""
    with contextlib.suppress(OSError):
        temporary.chmod(path.stat().st_mode & 0o777)


def _sync_folder(folder: Path) -> None:
    """Makes the new name last through a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exists(path: Path) -> OutputError:
    return OutputError(
        f"{shown(path)} exists already; choose another name, or overwrite it with --force (in Python: force=True)."
    )


def _sentence(error: OSError | ValueError, path: Path) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{shown(path)} cannot be written because the disk is full; free some space."
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{shown(path)} may not be written; choose a folder that you may write to."
    text = error.strerror if isinstance(error, OSError) else str(error)
    return f"{shown(path)} cannot be written ({text}); choose another place."
