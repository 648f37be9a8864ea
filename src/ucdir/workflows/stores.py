"""Photos and results in object stores, named by URLs as fsspec knows them: `s3://bucket/photo.jpg`, `gs://…`.

A `UPath` stands for such a place, as a `Path` does for a file. A photo is fetched into a temporary file, and a result
is put there whole when its temporary file is finished; a store shows an object when all of it has arrived.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final, TypeVar

from ucdir.errors import ConfigError, ImageError, OutputError, UcdirError, reason
from ucdir.extras import missing, optional_module
from ucdir.images.paths import RAW_SUFFIXES, READABLE_SUFFIXES, shown
from ucdir.limits import MAX_RECORD_BYTES

RECORDS: Final = ".ucdir"
"""Folder of the records beside results: one object for each."""

EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""The extra that brings a protocol's package; others are fsspec's own, or to be installed by their name."""

CREDENTIALS: Final = (
    "no credentials were found; for s3:// set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or run aws configure, for "
    "gs:// run gcloud auth application-default login"
)

Value = TypeVar("Value")


def is_url(name: str) -> bool:
    """Whether a name is a URL of a store, and not that of a file."""
    return re.match(r"[a-z][a-z0-9+.-]+://", name, re.IGNORECASE) is not None and not os.path.lexists(name)


def is_stored(path: Any) -> bool:
    """Whether it is a place in a store."""
    return not isinstance(path, PurePath)


def place(name: str) -> Any:
    """A `UPath` for a URL, else a `Path`.

    Raises:
        ExtraError: the package of the store is not installed.
        ConfigError: there is no such kind of store.
    """
    if not is_url(name):
        return Path(name)
    protocol = name.partition("://")[0].lower()
    if protocol in ("file", "local"):
        return Path(name.partition("://")[2])
    upath = optional_module("upath", "stores", f"{protocol}://")
    try:
        # listings that are kept would not show what other machines write
        path = upath.UPath(name, use_listings_cache=False)
        path.fs  # noqa: B018 (loads what the protocol needs)
    except ImportError as error:
        package = error.name or re.sub(r".*[Ii]nstall (\w+).*", r"\1", str(error))
        if protocol in EXTRAS:
            raise missing(package, EXTRAS[protocol], f"{protocol}://") from None  # type: ignore[arg-type]
        raise ConfigError(f"{name:.200}: {protocol}:// needs a package ({reason(error)}).") from None
    except ValueError as error:
        raise ConfigError(
            f"{name:.200}: this kind of store is not known ({reason(error)}); use s3://, gs:// or another of fsspec."
        ) from None
    except Exception as error:  # noqa: BLE001 (of any store's client)
        raise _refusal(name, "opened", error, ConfigError) from None
    return path


# ------------------------------------------------------------------------------------------------------------- errors


def _refusal(
    path: Any, what: str, error: Exception, kind: type[UcdirError], other: str = "check its name"
) -> UcdirError:
    """One sentence for the error of a store's client, whose errors have no common base."""
    text = f"{type(error).__name__} {error}".lower()
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = f"the disk of {tempfile.gettempdir()} is full; make room, or name another folder in TMPDIR"
    elif "credential" in text or "token" in text:
        why = CREDENTIALS
    elif isinstance(error, PermissionError) or any(word in text for word in ("denied", "forbidden", "403")):
        why = "access is denied; check the credentials and what they may do"
    elif isinstance(error, FileNotFoundError) or "nosuchbucket" in text:
        why = f"there is no such object or bucket; {other}"
    elif isinstance(error, (ConnectionError, TimeoutError)) or "connect" in text or "timeout" in text:
        why = f"the store cannot be reached: {reason(error):.100}; check the network and the endpoint"
    else:
        why = f"{reason(error):.150}; {other}"
    return kind(f"{shown(path)}: cannot be {what} ({why}).")


def _tried(
    path: Any,
    what: str,
    kind: type[UcdirError],
    function: Callable[..., Value],
    *arguments: Any,
    **options: Any,
) -> Value:
    try:
        return function(*arguments, **options)
    except UcdirError:
        raise
    except Exception as error:  # noqa: BLE001 (of any store's client)
        raise _refusal(path, what, error, kind) from None


# -------------------------------------------------------------------------------------------------------- what is there


def exists(path: Any) -> bool:
    """Whether there is such an object.

    Raises:
        OutputError: that cannot be found out.
    """
    try:
        path.fs.info(path.path)
    except FileNotFoundError:
        return False
    except Exception as error:  # noqa: BLE001
        raise _refusal(path, "looked for", error, OutputError) from None
    return True


def is_folder(path: Any) -> bool:
    """Whether objects lie below it.

    Raises:
        UcdirError: that cannot be found out.
    """
    return bool(_tried(path, "looked for", UcdirError, path.fs.isdir, path.path))


def version(path: Any, limit: int | None = None) -> str:
    """What tells an object from another one of its name: size, and the store's own hash or its time.

    Raises:
        ImageError: it cannot be read, or has more than `limit` bytes.
    """
    info: Mapping[str, Any] = _tried(path, "read", ImageError, path.fs.info, path.path)
    if info.get("type") == "directory":
        raise ImageError(
            f"{shown(path)} is a folder; name an object, or end it with / to restore what it holds."
        )
    size = int(info.get("size") or 0)
    if limit is not None and size > limit:
        raise ImageError(
            f"{shown(path)} has more than the {limit:,} bytes that ucdir opens; save it smaller."
        )
    names = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "updated", "created")
    mark = next((info[name] for name in names if info.get(name)), "")
    return f"{size} {str(mark).strip(chr(34))}"


def find_below(root: Any, pattern: str | None = None) -> list[PurePosixPath]:
    """Photos below a folder of a store, or those that fit a pattern of it, as paths below it, in their order.

    Raises:
        ImageError: it cannot be listed, or is no folder.
    """
    found = _tried(
        root, "listed", ImageError, root.fs.glob if pattern else root.fs.find, pattern or root.path
    )
    start = root.path.rstrip("/")
    below = sorted(PurePosixPath(str(path)[len(start) :].lstrip("/")) for path in found)
    suffixes = {*READABLE_SUFFIXES, *RAW_SUFFIXES}
    return [
        path
        for path in below
        if path.suffix.lower() in suffixes and not any(part.startswith(".") for part in path.parts)
    ]


# ------------------------------------------------------------------------------------------------------- read and write


def check_output(folder: Any) -> None:
    """Refuse a folder of a store that cannot be written, found out by writing an empty object.

    Raises:
        OutputError: it cannot.
    """
    probe = folder / f"{RECORDS}/probe"
    _tried(folder, "written", OutputError, probe.fs.pipe_file, probe.path, b"")
    with contextlib.suppress(Exception):  # there are rights to write and not to remove
        probe.fs.rm_file(probe.path)


@contextlib.contextmanager
def on_disk(photo: Any, output: Any) -> Iterator[tuple[Path, Path]]:
    """A photo as a file of this machine, and a file to write the result to, which is then put in its place.

    Places that are no stores are themselves. Errors inside name the places in the store.

    Raises:
        ImageError: the photo cannot be fetched.
        OutputError: the result cannot be put; then nothing is left of it.
    """
    if not is_stored(photo) and not is_stored(output):
        yield photo, output
        return
    with tempfile.TemporaryDirectory(prefix="ucdir-") as name:
        folder = Path(name)
        here = folder / "photo" / photo.name if is_stored(photo) else photo
        there = folder / "result" / output.name if is_stored(output) else output
        for path in (here, there):
            if folder in path.parents:
                path.parent.mkdir()
        if is_stored(photo):
            _tried(photo, "read", ImageError, photo.fs.get_file, photo.path, str(here))
        try:
            yield here, there
        except UcdirError as error:
            raise type(error)(renamed(str(error), {here: photo, there: output})) from error
        if is_stored(output) and there.exists():
            _tried(output, "written", OutputError, output.fs.put_file, str(there), output.path)


def renamed(text: str, names: Mapping[Path, Any]) -> str:
    """A sentence with the places that temporary files stand for."""
    for path, other in names.items():
        text = text.replace(shown(path), shown(other))
    return text


def done_in_store(done: Any, names: Mapping[Path, Any], output: Any) -> Any:
    """A `RestoredPhoto` that names the places in the store."""
    return replace(
        done, output=done.output and output, notes=tuple(renamed(note, names) for note in done.notes)
    )


class StoredRecords:
    """As `records.Records`, of a folder of a store: an object for each result, as nothing can be appended there."""

    def __init__(self, folder: Any) -> None:
        self.path = folder / RECORDS

    @property
    def entries(self) -> StoredEntries:
        """The last entry of each result, by its name."""
        return StoredEntries(self.path)

    def add(self, entry: dict[str, Any]) -> bool:
        """Write an entry in place of the last; whether that was possible."""
        path = self.path / f"{entry['output']}.json"
        try:
            path.fs.pipe_file(path.path, json.dumps(entry).encode())
        except Exception:  # noqa: BLE001
            return False
        return True


class StoredEntries:
    """What `StoredRecords` has, read when it is asked for."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder

    def get(self, name: str) -> dict[str, Any] | None:
        """The entry of a result, if there is one that is whole."""
        path = self.folder / f"{name}.json"
        with contextlib.suppress(
            Exception
        ):  # none, or one that cannot be read: a result like any other object
            entry = json.loads(path.fs.cat_file(path.path, end=MAX_RECORD_BYTES))
            return entry if isinstance(entry, dict) else None
        return None

    def __iter__(self) -> Iterator[str]:
        try:
            found = self.folder.fs.ls(self.folder.path, detail=False)
        except Exception:  # noqa: BLE001
            return iter(())
        return (PurePosixPath(str(path)).name.removesuffix(".json") for path in found)
