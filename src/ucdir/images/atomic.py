"""Writing files whole or not at all, never over another unasked, and leaving nothing behind."""

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ucdir.errors import OutputError
from ucdir.images.paths import shown

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def atomic_write(
    pieces: Sequence[bytes | memoryview], path: Path, *, force: bool, times_of: Path | None = None
) -> None:
    """Write pieces to a file beside `path`, wait until the disk has them, and only then give it its name.

    Args:
        pieces: what is written, one after the other.
        path: the file.
        force: whether a file that exists is replaced.
        times_of: a file whose times of access and change the new one gets.

    Raises:
        OutputError: the disk is full, the folder missing or not writable, or `path` exists (without `force`).
    """

    def fill(descriptor: int, _: Path) -> None:
        for piece in pieces:
            write_all(descriptor, piece)

    atomic_fill(fill, path, force=force, times_of=times_of)


def write_all(descriptor: int, piece: bytes | memoryview) -> None:
    """Write all of a piece; the kernel may take only some of it at once.

    Raises:
        OSError: it cannot be written.
    """
    with os.fdopen(descriptor, "wb", buffering=0, closefd=False) as file:
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]


def atomic_fill(
    fill: Callable[[int, Path], None], path: Path, *, force: bool, times_of: Path | None = None
) -> None:
    """As `atomic_write`, of what a function writes into an empty file, by its descriptor or its name.

    Raises:
        OutputError: as `atomic_write`.
    """
    check_path(path, force=force)
    _remove_stale_once(path.parent)
    try:
        try:
            _fill_and_rename(fill, path, force, times_of)
        except FileNotFoundError:
            # on a network drive whose locks do not reach other machines, another one may have tidied up
            if not path.parent.is_dir():
                raise
            _fill_and_rename(fill, path, force, times_of)
        _sync_folder(path.parent)
    except OSError as error:
        raise refusal(error, path) from error


def _fill_and_rename(
    fill: Callable[[int, Path], None], path: Path, force: bool, times_of: Path | None
) -> None:
    with _temporary_file(path.parent) as (descriptor, temporary):
        fill(descriptor, temporary)
        if times_of is not None:
            times = times_of.stat()
            os.utime(descriptor, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.fsync(descriptor)
        move_into_place(temporary, path, force=force)


def move_into_place(temporary: Path, path: Path, *, force: bool) -> None:
    """Give a file beside a path, or in a folder beside it, the path's name.

    Raises:
        OSError: it cannot be, as the path exists (without `force`).
    """
    if force:
        with contextlib.suppress(OSError):  # as readable as the file that it replaces
            temporary.chmod(path.stat().st_mode & 0o777)
        os.replace(temporary, path)  # noqa: PTH105
    else:
        _rename_to_new(temporary, path)


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
        probe = _temporary(path.parent)
        os.close(os.open(probe, _NEW_FILE, 0o666))
        probe.unlink()
        path.lstat()  # refuses a name that is too long
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise refusal(error, path) from error


def _temporary(folder: Path) -> Path:
    return folder / f".ucdir-{secrets.token_hex(8)}.tmp"


@contextlib.contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[int, Path]]:
    """A new file, open for writing; afterwards it is removed, unless it was renamed.

    It is locked for as long as it is open. The kernel lets go of the lock when the process ends, however it ends, so
    `remove_stale` can tell a file that is being written from one that was left behind, in other containers, too.
    """
    descriptor, path = _locked(folder, lambda path: os.open(path, _NEW_FILE, 0o666))
    try:
        yield descriptor, path
    finally:
        try:
            with contextlib.suppress(OSError):
                path.unlink()
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """The same, but a folder: what is moved out of it, or it as a whole if it is renamed, stays."""
    descriptor, path = _locked(folder, _new_folder)
    try:
        yield path
    finally:
        try:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


def _new_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _locked(folder: Path, make: Callable[[Path], int]) -> tuple[int, Path]:
    while True:
        path = _temporary(folder)
        try:
            descriptor = make(path)
        except FileNotFoundError:
            if not folder.exists():
                raise
            continue
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # else another process's `remove_stale` came before the lock
            return descriptor, path
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Remove the temporary files and folders of killed processes, but none that a process is still writing."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [
            entry.path
            for entry in entries
            if entry.name.startswith(".ucdir-") and entry.name.endswith(".tmp")
        ]
        for path in found:
            with contextlib.suppress(OSError):
                _remove_unless_locked(path)


def _remove_unless_locked(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        kind = os.fstat(descriptor).st_mode
        ours = stat.S_ISDIR(kind) and re.search(r"\.ucdir-[0-9a-f]{16}\.tmp$", path)
        if stat.S_ISREG(kind) or ours:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (shutil.rmtree if ours else os.unlink)(path)
    finally:
        os.close(descriptor)


@functools.lru_cache(maxsize=4096)
def _remove_stale_once(folder: Path) -> None:
    """Listing a large folder at each file that is written would take ever longer."""
    remove_stale(folder)


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Give a file a name that must not exist yet, in one step."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links (FAT, some network drives)
        if _rename_unless_there(temporary, path):
            return
        # Claim the name, then replace it; a kill in between leaves an empty file.
        os.close(os.open(path, _NEW_FILE, 0o666))
        try:
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            path.unlink()
            raise


def _rename_unless_there(temporary: Path, path: Path) -> bool:
    """Linux' own way, in one step; false where the C library or the file system does not know it."""
    rename: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here, no_replace = -100, 1  # AT_FDCWD, RENAME_NOREPLACE
    done = rename(here, os.fsencode(temporary), here, os.fsencode(path), no_replace) == 0
    if not done and ctypes.get_errno() == errno.EEXIST:
        raise FileExistsError
    return bool(done)


def make_folder(folder: Path) -> set[Path]:
    """Make a folder and those above it, and return those that were missing.

    Raises:
        OutputError: that is not possible.
    """
    missing = {path for path in (folder, *folder.parents) if not os.path.lexists(path)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(f"{shown(folder)}: this folder cannot be made ({text}); choose another.") from None
    return missing


def folder_problem(folder: Path) -> OutputError | None:
    """Why no file can be written into a folder, which may be missing but could be made."""
    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not os.path.isdir(existing):  # noqa: PTH112 (never an error)
        return OutputError(
            f"{shown(folder)}: this folder cannot be made ({shown(existing)} is a file); choose another."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        return OutputError(f"{shown(existing)} may not be written; choose a folder that you may write to.")
    return None


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder, where the file system knows that of folders.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        sync(folder)


def refusal(error: OSError | ValueError, path: Path) -> OutputError:
    """What is said of a file that cannot be written."""
    code = error.errno if isinstance(error, OSError) else None
    text = error.strerror if isinstance(error, OSError) else str(error)
    problem = f"cannot be written ({text}); choose another folder or name"
    if isinstance(error, FileExistsError):
        problem = (
            "exists already; choose another name, or overwrite it with --overwrite (in Python: force=True)"
        )
    elif code == errno.ENOSPC:
        problem = "cannot be written because the disk is full; free some space"
    elif code == errno.EDQUOT:
        problem = "cannot be written because your quota of disk space is used up; free some space"
    elif code == errno.EFBIG:
        problem = "cannot be written because files may not be so large; raise the limit (ulimit -f)"
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
        problem = "may not be written; choose a folder that you may write to"
    return OutputError(f"{shown(path)} {problem}.")
