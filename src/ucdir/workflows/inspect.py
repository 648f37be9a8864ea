"""What is wrong with a photo: of a file, its bytes, or an image in memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ucdir.errors import ConfigError
from ucdir.images import Photo, read
from ucdir.images.large import large_images
from ucdir.images.pixels import Signal, from_signal, to_signal
from ucdir.inspection import Inspection
from ucdir.inspection import inspect as inspect_photo


def inspect(image: Any) -> Inspection:
    """What is wrong with a photo, how much, and which task that is for.

    Args:
        image: a path, the bytes of a file, or one image in memory, as `ucdir.restore` takes them.

    Raises:
        ImageError: the photo cannot be read.
        ConfigError: it is no image, or several.
        OutputError: there is no space for the file that a large one is decoded into.
    """
    if isinstance(image, (str, os.PathLike)):
        with large_images(Path(tempfile.gettempdir())):  # of which no more than some parts are looked at
            return inspect_photo(read(Path(image)))
    if isinstance(image, bytes):
        return inspect_photo(read(image))
    signal = to_signal(image)
    if len(signal) > 1:
        raise ConfigError(f"image: {len(signal)} images in a batch; inspect them one by one.")
    return inspect_photo(photo_of(signal))


def photo_of(signal: Signal) -> Photo:
    """An image in memory [1,3,H,W] in [-1,1] as a photo of 8 bits."""
    return Photo(from_signal(signal, np.empty((1, 1, 3), np.uint8)))
