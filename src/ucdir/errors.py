"""Every error ucdir raises on purpose, on one screen.

An error's message is one sentence for the person who made the request: what is wrong (with the value), where
(file or key), and what to do about it. The command line prints it and exits with status 2.

    UcdirError
    ├── ImageError      a photograph cannot be read
    ├── OutputError     a result cannot be written
    ├── ConfigError     a setting is unknown, missing or out of range
    ├── WeightsError    a model folder or checkpoint cannot be loaded
    ├── DataError       training or evaluation data is missing or does not fit together
    ├── ResultError     a restoration gave no picture: numbers that are not finite
    └── DeviceError     the device asked for is not there, its memory is too small, or it cannot do what is set
"""


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


class DataError(UcdirError):
    """Training or evaluation data is missing, unreadable, or does not fit together."""


class ResultError(UcdirError):
    """The networks gave numbers that are not finite; nothing is written then."""


class DeviceError(UcdirError):
    """The device asked for is not available, cannot hold even the smallest patch, or cannot do what is set."""


def reason(error: Exception) -> str:
    """The first line of a library's error, for a sentence of our own; its kind where it says nothing."""
    return f"{(str(error).strip() or type(error).__name__).splitlines()[0]:.200}"
