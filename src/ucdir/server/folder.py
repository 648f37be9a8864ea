"""Where uploads and results live: a private folder of this server, removed at its end, or by the next one."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ucdir.errors import OutputError
from ucdir.images.atomic import remove_stale, temporary_folder
from ucdir.images.paths import shown


@contextmanager
def server_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder for one server, below one of this user's that nobody else can enter; it is locked while it is used.

    What killed servers left is removed first: the kernel lets go of a lock when its process ends, however it ends.

    Args:
        parent: where; by default the system's folder for temporary files.

    Raises:
        OutputError: it cannot be made, or somebody else has made it.
    """
    base = Path(parent or tempfile.gettempdir()) / f"ucdir-serve-{os.getuid()}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        status = base.lstat()
    except OSError as error:
        raise OutputError(
            f"{shown(base)}: it cannot hold uploads ({error.strerror}); choose another folder with --temporary."
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise OutputError(
            f"{shown(base)}: others can read this folder for uploads; remove it, or choose another with --temporary."
        )
    remove_stale(base)
    with temporary_folder(base) as folder:
        folder.chmod(0o700)
        yield folder


@contextmanager
def request_folder(folder: Path) -> Iterator[Path]:
    """A new folder for one request, removed afterwards.

    Raises:
        OutputError: it cannot be made: the disk is full, or somebody has removed the server's folder.
    """
    path = folder / secrets.token_hex(8)
    try:
        path.mkdir(mode=0o700)
    except OSError as error:
        raise OutputError(f"the server cannot keep the photo ({error.strerror}).") from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
