"""What lets a batch go on where it stopped: a hidden file `.ucdir.jsonl` in each folder of results.

One line before a result is written, and one when it is there:

    {"output": "a.restored.png", "photo": SHA-256, "settings": {…}, "task": …, "model": …, "replaces": SHA-256 or null}
    {"output": "a.restored.png", "photo": SHA-256, "settings": {…}, "task": …, "model": SHA-256, "result": SHA-256}

The first makes up for a process that is killed between the two: a result appears whole or not at all (`atomic_write`),
so one that was begun and is there is finished. A record beside the results, rather than in their metadata, serves every
format, adds nothing to photos, and can tell whether a result is whole without decoding it. Lines that are damaged count
as missing; without its line a result is a file like any other, which is not replaced unasked.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any, Final

from ucdir.errors import ImageError, OutputError, UcdirError
from ucdir.images import read
from ucdir.images.large import large_images
from ucdir.images.paths import shown
from ucdir.limits import MAX_RECORD_BYTES
from ucdir.workflows.stores import StoredRecords, is_stored, version

NAME: Final = ".ucdir.jsonl"

Entry = dict[str, Any]


class Records:
    """The record of one folder, which other processes may write, too."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._entries: dict[str, Entry] = {}
        self._end = 0  # of the lines that were read
        self._lock = threading.Lock()

    @property
    def entries(self) -> dict[str, Entry]:
        """The last line of each result, by its name; lines that were added since are read first."""
        with self._lock, contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode):
                    self._read(descriptor, min(status.st_size, MAX_RECORD_BYTES))
            finally:
                os.close(descriptor)
        return self._entries

    def _read(self, descriptor: int, size: int) -> None:
        if size < self._end:  # another file by now
            self._entries, self._end = {}, 0
        data = os.pread(descriptor, size - self._end, self._end)
        whole = data[: data.rfind(b"\n") + 1]
        self._end += len(whole)
        for entry in map(_parsed, whole.split(b"\n")):
            if entry is not None:
                self._entries[entry["output"]] = entry

    def add(self, entry: Entry) -> bool:
        """Append a line, in one call so that lines of two processes do not mix; whether that was possible."""
        line = json.dumps(entry).encode() + b"\n"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags, 0o666)
            try:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX)  # on a network drive, appending needs it
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":  # cut short, by a full disk perhaps
                    line = b"\n" + line
                return os.write(descriptor, line) == len(line)
            finally:
                os.close(descriptor)
        except OSError:
            return False


def _parsed(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("output"), str) else None


def records_of(folder: Any) -> Records:
    """The record of a folder, or of one of an object store."""
    return StoredRecords(folder) if is_stored(folder) else Records(folder)  # type: ignore[return-value]


def is_finished(output: Path, last: Entry | None, wanted: Entry) -> bool:
    """Whether a file that exists is the whole result of a photo and settings.

    Args:
        output: the file.
        last: its last line in the record.
        wanted: the line that would be written now; a task or model of None is any.

    Returns:
        False if it is to be restored again: it is damaged, or what stood there before a process was killed.

    Raises:
        OutputError: it is something else, which is not replaced unasked.
    """
    if last is None:
        raise refusal(output, "exists already")
    if last.get("photo") != wanted["photo"]:
        raise refusal(output, "is the result of another photo, or of this one before it was changed")
    if last.get("settings") != wanted["settings"]:
        raise refusal(output, f"was restored with other settings ({_difference(last, wanted)})")
    for name in ("task", "model"):
        if None not in (wanted[name], last.get(name)) and wanted[name] != last[name]:
            raise refusal(output, f"was restored with another {name}")
    found = digest(output)
    if "result" in last and found == last["result"]:
        return True
    if "result" not in last and found == last.get("replaces"):
        return False
    try:
        if not is_stored(output):  # a store has whole objects only
            with large_images(output.parent):
                read(output)
    except ImageError:
        return False
    if "result" in last:
        raise refusal(output, "has been changed since it was restored")
    return True


def refusal(output: Path, what: str) -> OutputError:
    """The error of a result that is not replaced unasked."""
    return OutputError(
        f"{shown(output)} {what}; choose another name or folder, or replace it with --overwrite."
    )


def _difference(last: Entry, wanted: Entry) -> str:
    old, new = last.get("settings"), wanted["settings"]
    if not isinstance(old, dict):
        return "unknown ones"
    names = [name for name in {**new, **old} if new.get(name) != old.get(name)]
    return ", ".join(f"{name} {old.get(name)!r:.40}, now {new.get(name)!r:.40}" for name in names[:3])


def digest(path: Path, limit: int | None = None) -> str:
    """SHA-256 of a file; of an object in a store its `version`, for which it need not be fetched.

    Raises:
        UcdirError: it cannot be read, or has more than `limit` bytes.
    """
    if is_stored(path):
        return version(path, limit)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{shown(path)} is a folder, device or pipe; name an ordinary file.")
            if limit is not None and status.st_size > limit:
                raise ImageError(
                    f"{shown(path)} has more than the {limit:,} bytes that ucdir opens; save it smaller."
                )
            with open(descriptor, "rb", closefd=False) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UcdirError(
            f"{shown(path)}: cannot be read ({error.strerror}); check its permissions."
        ) from error
