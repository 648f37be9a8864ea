"""Every error ucdir raises on purpose, on one screen.

An error's message is one sentence for the person who made the request: what is wrong (with the value), where
(file or key), and what to do about it. The command line prints it and exits with status 2.

    UcdirError
    ├── ImageError      a photograph cannot be read
    ├── OutputError     a result cannot be written
    ├── ConfigError     a setting is unknown, missing or out of range
    ├── WeightsError    a model folder or checkpoint cannot be loaded
    ├── DataError       training or evaluation data is missing or does not fit together
    ├── ResultError     a restoration gave numbers that are not finite
    ├── ExtraError      a package of an extra is not installed
    └── DeviceError     the device asked for is not there, its memory is too small, or it cannot do what is set
"""

import re
import traceback
from collections.abc import Sequence
from pathlib import Path


class UcdirError(Exception):
    """Base of every expected error; its text is the whole message."""


class ImageError(UcdirError):
    """A photograph cannot be read: not an image, damaged, too large, or of an unsupported kind."""


class OutputError(UcdirError):
    """A result cannot be written: the place exists already, is not writable, or the disk is full."""


class ConfigError(UcdirError, ValueError):
    """A setting is unknown, missing or out of range."""


class WeightsError(UcdirError):
    """A model folder or checkpoint is missing, damaged, or does not fit the model."""


class ExtraError(UcdirError, ImportError):
    """A package that only some uses need is not installed; the message says how to install its extra."""


class DataError(UcdirError):
    """Training or evaluation data is missing, unreadable, or does not fit together."""


class ResultError(UcdirError):
    """The networks gave numbers that are not finite; nothing is written then."""


class DeviceError(UcdirError):
    """The device asked for is not available, cannot hold even the smallest patch, or cannot do what is set."""


def reason(error: BaseException) -> str:
    """The informative line of a library's error, for a message of ours: at most 200 printable ASCII characters.

    Lines that only name a function of libvips are skipped; an error without text gives its type.
    """
    first = error.args[0] if error.args else ""
    text = first.decode("ascii", "replace") if isinstance(first, bytes) else str(error)
    lines = [line for line in map(str.strip, text.splitlines()) if line] or [type(error).__name__]
    line = next(
        (line for line in lines if not line.startswith(("unable to call", "unable to fetch"))),
        "no details given",
    )
    line = re.sub(r"^(VipsJpeg|vips\w*|\w+load\w*|\w+2vips|\w+_buffer): ", "", line)
    return re.sub(r"[^ -~]+", "?", line).rstrip(".")[:200]


def fault(error: BaseException) -> str:
    """The sentence for an error that nobody expected: what it is, and where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
    return f"a fault of this program ({what}); please report it."


def listed(names: Sequence[str]) -> str:
    """Names as they stand in a sentence.

    Example:
        >>> listed(["EXIF", "XMP", "comments"])
        'EXIF, XMP and comments'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
