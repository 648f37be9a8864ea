"""Main memory: how much of it this process may still take, and giving back what it does not need.

What the kernel tells is read from /proc and /sys/fs/cgroup; on other systems than Linux little is known, and then
nothing is limited but by the user.
"""

from __future__ import annotations

import ctypes
import errno
import math
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError, DeviceError

UNITS: Final = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40,
}  # fmt: skip
"""By the letters before the B."""
THREADS: Final = 48_000_000
"""Bytes of address space that are left to the threads of decoders and encoders, where it is limited."""
RELEASED_BYTES: Final = 8 << 20
"""What is touched of a mapped file from one release to the next, where it is gone through from its beginning."""
_Number = TypeVar("_Number", bound=np.generic)
M_ARENA_MAX: Final = -8
"""Parameter of glibc's mallopt: the number of heaps, each of which reserves 64 MiB of address space."""


def bytes_of(size: int | str) -> int:
    """A size as people write it, `2GB`, `1.5 GiB` or `800M`, in bytes.

    Raises:
        ConfigError: it is none, or not above 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(size), re.IGNORECASE | re.ASCII)
    number = float(found[1]) * UNITS.get(found[2].lower(), 0) if found and not isinstance(size, bool) else 0
    if not 1 <= number < 2**63:
        raise ConfigError(f"{size!r:.80} is not a size of memory; write it as 2GB, 1.5GB or 800MB.")
    return int(number)


def as_text(size: int) -> str:
    """A number of bytes as messages print it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 0) / 1e6:.0f} MB"


# ---------------------------------------------------------------------------------------------------- what is free


def free_memory(limit: int | None = None) -> int | None:
    """Bytes that this process may still take; None where nothing limits it that is known.

    The least of what the machine has free (swap included), what its control groups (containers) and its own limits
    (`ulimit -v` and `-d`) leave, and what is left of `limit`.

    Args:
        limit: bytes that the process may take in all.
    """
    left = [*_machine(), *_control_groups(), *_own_limits()]
    if limit is not None:
        left.append(limit - (_status("VmRSS") or 0))
    return min(left, default=None)


def check_free(needed: int, what: str, limit: int | None = None) -> None:
    """Refuse what is too large for the memory before it is begun.

    Args:
        needed: bytes.
        what: for the message.
        limit: as in `free_memory`.

    Raises:
        DeviceError: less is free.
    """
    left = free_memory(limit)
    if left is not None and left < needed:
        raise DeviceError(
            f"{what}: this needs about {as_text(needed)} more memory, and {as_text(left)} is free; close other "
            "programs, raise the limit (--max-memory, ulimit -v, the container's), or use a machine with more memory."
        )


def check_address_space(needed: int, what: str) -> None:
    """The same of the address space alone, and only where it is limited; libraries reserve more than they use.

    Raises:
        DeviceError: less is left.
    """
    left = _address_space()
    if left is not None and left < needed:
        raise DeviceError(
            f"{what}: this needs about {as_text(needed)} more address space, and {as_text(left)} is left; raise the "
            "limit (ulimit -v)."
        )


def _machine() -> Iterator[int]:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return
    found = {name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    if "MemAvailable" in found:
        yield found["MemAvailable"] + found.get("SwapFree", 0)


SELF: Final = Path("/proc/self/cgroup")
MOUNTED: Final = Path("/sys/fs/cgroup")


def control_groups(
    controller: str, membership: Path = SELF, mounted: Path = MOUNTED
) -> Iterator[tuple[int, Path]]:
    """Version and folder of each control group that this process is in, the outer ones first.

    Args:
        controller: what it must control, such as memory or cpu.
        membership: the file that names them.
        mounted: where they are.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = [part for part in path.split("/") if part not in ("", "..")]
        if controllers and controller not in controllers.split(","):
            continue
        base = mounted / controller if controllers else mounted
        # in a container its own group may be mounted as the root, whatever its name is outside
        for depth in range(len(names) + 1):
            yield (1 if controllers else 2), base.joinpath(*names[:depth])


def _control_groups(membership: Path = SELF, mounted: Path = MOUNTED) -> Iterator[int]:
    """What each control group that this process is in leaves, of version 1 and 2."""
    for version, group in control_groups("memory", membership, mounted):
        if version == 2:
            limit, usage, inactive = "memory.max", "memory.current", "inactive_file"
        else:
            limit, usage, inactive = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        try:
            most, used = int((group / limit).read_text()), int((group / usage).read_text())
            text = (group / "memory.stat").read_text()
        except (OSError, ValueError):  # no such file, or "max"
            continue
        cached = re.search(rf"^{inactive} (\d+)$", text, re.MULTILINE)  # given back when memory is short
        yield most - used + (int(cached[1]) if cached else 0)


def _own_limits() -> Iterator[int]:
    left, data = _address_space(), _left("RLIMIT_DATA", "VmData")
    if left is not None:
        yield left - THREADS
    if data is not None:
        yield data


def _address_space() -> int | None:
    return _left("RLIMIT_AS", "VmSize")


def _left(limit: str, used: str) -> int | None:
    """What a limit of this process leaves; None without limit, or where it is not known."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    most, taken = resource.getrlimit(getattr(resource, limit))[0], _status(used)
    return None if most == resource.RLIM_INFINITY or taken is None else most - taken


def _status(name: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) << 10 if found else None


# ------------------------------------------------------------------------------------------------- the C library's


@cache
def _c_library(name: str) -> Callable[..., int] | None:
    """A function of the GNU C library, where that is what runs."""
    if not sys.platform.startswith("linux"):
        return None
    function: Any = getattr(ctypes.CDLL(None), name, None)
    return function  # type: ignore[no-any-return]


def trim_heap() -> None:
    """Give memory that is free, but lies between parts in use, back to the system.

    The C library keeps it, and from patch to patch and step to step the holes of freed feature maps add up.
    """
    trim = _c_library("malloc_trim")
    if trim is not None:
        trim(0)


def save_address_space() -> None:
    """Where the address space is limited: no heap of its own for each thread, which would take 64 MiB of it."""
    option = _c_library("mallopt")
    if option is not None and _address_space() is not None:
        option(M_ARENA_MAX, 1)


# -------------------------------------------------------------------------------------------- arrays that lie in files


def mapped_array(shape: tuple[int, ...], dtype: Any, folder: Path) -> NDArray[Any]:
    """An array in a file that has no name and ends with the process, its disk space taken at once.

    What is touched of it counts as this process's memory until `release`.

    Raises:
        OSError: there is no space for it.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        return mapped(file.fileno(), shape, dtype)


def mapped(descriptor: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """The same of a file that is open for reading and writing; what is in it stays.

    Raises:
        OSError: there is no space for it.
        MemoryError: there is no address space for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        if hasattr(os, "posix_fallocate"):  # or a full disk would end the process where it writes
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # of some file systems
            raise
    if os.fstat(descriptor).st_size < size:
        os.ftruncate(descriptor, size)
    try:
        return np.frombuffer(mmap.mmap(descriptor, size), dtype).reshape(shape)
    except OSError as error:
        if error.errno == errno.ENOMEM:  # of address space
            raise MemoryError(os.strerror(errno.ENOMEM)) from None
        raise


def mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapped file that an array, or the one that it is a view of, lies in; None if it lies in memory."""
    base: Any = array
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.obj if isinstance(base, memoryview) else base.base
    return base if isinstance(base, mmap.mmap) else None


def in_bands(array: NDArray[Any], start: int, stop: int) -> Iterator[slice]:
    """Its rows a few at a time, released afterwards; of an array in memory all at once.

    Around whatever is touched of a mapped file the kernel maps 64 KiB, and up to 2 MiB since it caches files in large
    pieces: with each row of a patch that is as much as whole rows.
    """
    rows = stop - start if mapping(array) is None else max(1, RELEASED_BYTES // max(1, abs(array.strides[0])))
    for top in range(start, stop, max(1, rows)):
        yield slice(top, min(top + rows, stop))
        release(array)


def copied(array: NDArray[_Number], rows: slice, columns: slice) -> NDArray[_Number]:
    """A part of an array [H,W,...] that may lie in a file, in memory."""
    rows, columns = (slice(*part.indices(array.shape[axis])) for axis, part in enumerate((rows, columns)))
    if is_turned(array):
        return copied(array.swapaxes(0, 1), columns, rows).swapaxes(0, 1)
    part = np.empty((rows.stop - rows.start, columns.stop - columns.start, *array.shape[2:]), array.dtype)
    for band in in_bands(array, rows.start, rows.stop):
        part[band.start - rows.start : band.stop - rows.start] = array[band, columns]
    return part


def thinned(array: NDArray[_Number], step: int) -> NDArray[_Number]:
    """Every so many rows and columns of an array [H,W,...] that may lie in a file, in memory."""
    if mapping(array) is None:
        return array[::step, ::step]
    if is_turned(array):
        return thinned(array.swapaxes(0, 1), step).swapaxes(0, 1)
    whole = slice(0, array.shape[1])
    return np.concatenate(
        [copied(array, slice(top, top + 1), whole)[:, ::step].copy() for top in range(0, len(array), step)]
    )


def put(part: NDArray[_Number], array: NDArray[_Number], rows: slice, columns: slice) -> None:
    """Write a part [h,w,...] into an array [H,W,...] that may lie in a file; what is below its last row is left out."""
    if is_turned(array):
        put(part.swapaxes(0, 1), array.swapaxes(0, 1), columns, rows)
        return
    for band in in_bands(array, rows.start, min(rows.stop, len(array))):
        array[band, columns] = part[band.start - rows.start : band.stop - rows.start]


def is_turned(array: NDArray[Any]) -> bool:
    """Whether its columns lie in the file one after another, as of a photo that was turned upright."""
    return mapping(array) is not None and abs(array.strides[0]) < abs(array.strides[1])


def release(array: NDArray[Any]) -> None:
    """Give the memory of what was touched of a mapped file back; what was written stays in the file."""
    found = mapping(array)
    if found is not None and hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)
