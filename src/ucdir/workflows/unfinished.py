"""What lets one large photo go on where it stopped: a hidden folder `.ucdir-NAME.unfinished` beside its result.

    settings.json   the photo, settings and model that it is of
    samples         the result's samples, [H,W,channels], as far as they are done
    rows            a line for each row of patches that the disk has: where it ends

A row is added to `rows` only when its samples are on the disk, so a process may be killed, or the power cut, at any
time.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import OutputError
from ucdir.images.atomic import write_all
from ucdir.images.paths import fitting_name, shown
from ucdir.limits import MAX_RECORD_BYTES
from ucdir.memory import mapped, mapping, release

Settings = Mapping[str, Any]

_SAMPLES: Final = "samples"


def folder_of(output: Path) -> Path:
    """Where the state of an unfinished result is."""
    return output.with_name(fitting_name(f".ucdir-{output.name}", ".unfinished"))


def bytes_begun(output: Path) -> int:
    """What the samples of an unfinished result take of the disk already."""
    samples = folder_of(output) / _SAMPLES
    return samples.stat().st_blocks * 512 if samples.exists() else 0


class Unfinished:
    """The state of one result, which one process works on.

    Attributes:
        samples: [H,W,channels], in a file.
        settings: what it is of, and `patch_size`, which is that of the first run.
        done: first row that is still to be computed.
    """

    def __init__(
        self, output: Path, settings: Settings, shape: tuple[int, int, int], dtype: Any, patch_size: int
    ) -> None:
        """Open or begin the state of a result.

        Args:
            output: the result.
            settings: what it depends on, of JSON; `patch_size` None: any.
            shape: [H,W,channels] of the samples.
            dtype: of the samples.
            patch_size: for one that is begun, if `settings` leave it open.

        Raises:
            OutputError: it is of something else, or another process works on it.
            OSError: it cannot be written.
        """
        self.folder = folder_of(output)
        self.folder.mkdir(exist_ok=True)
        self._lock = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise OutputError(
                f"{shown(output)} is worked on by another process; wait until it has finished."
            ) from None
        try:
            wanted: dict[str, Any] = json.loads(
                json.dumps({**settings, "shape": shape, "dtype": np.dtype(dtype).name})
            )
            self.settings = self._checked(output, wanted, patch_size)
            descriptor = os.open(self.folder / _SAMPLES, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self.samples: NDArray[Any] = mapped(descriptor, shape, dtype)
            finally:
                os.close(descriptor)
            self.done = self._rows_done(shape[0])
        except BaseException:
            self.close()
            raise

    def _checked(self, output: Path, wanted: dict[str, Any], patch_size: int) -> dict[str, Any]:
        """The settings that stand in the folder; `wanted` are put there if there are none, and what is left removed."""
        file = self.folder / "settings.json"
        try:
            with file.open("rb") as opened:
                found = json.loads(opened.read(MAX_RECORD_BYTES))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            wanted["patch_size"] = wanted.get("patch_size") or patch_size
            for name in ("rows", _SAMPLES):
                (self.folder / name).unlink(missing_ok=True)
            temporary = self.folder / "settings.new"
            with temporary.open("wb") as opened:
                opened.write(json.dumps(wanted).encode())
                opened.flush()
                os.fsync(opened.fileno())
            temporary.replace(file)
            return wanted
        given = {**wanted, "patch_size": wanted.get("patch_size") or found.get("patch_size")}
        if found != given:
            names = [name for name in {**given, **found} if given.get(name) != found.get(name)]
            different = "another photo" if "photo" in names else f"other settings ({', '.join(names[:3])})"
            if names == ["version"]:
                different = f"another version of ucdir ({found.get('version')!s:.20})"
            raise OutputError(
                f"{shown(output)}: an unfinished result of {different} is in {shown(self.folder)}; repeat that command "
                "to go on with it, or remove that folder."
            )
        return found

    def _rows_done(self, height: int) -> int:
        try:
            with (self.folder / "rows").open("rb") as opened:
                lines = opened.read(MAX_RECORD_BYTES).split(b"\n")[:-1]
        except OSError:
            return 0
        rows = [int(line) for line in lines if line.isdigit()]
        return max((row for row in rows if row <= height), default=0)

    def finished_rows(self, stop: int) -> None:
        """Note that all above a row is done, once the disk has it."""
        found = mapping(self.samples)
        if found is not None:
            found.flush()
        release(self.samples)
        descriptor = os.open(
            self.folder / "rows", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666
        )
        try:
            write_all(descriptor, f"{stop}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove it: the result is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)
