"""Blur of a long exposure, made of the short ones of a film."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ucdir.degradations.camera_effects import CameraEffects


def mean_of_frames(frames: Sequence[npt.NDArray[np.uint8]], effects: CameraEffects) -> npt.NDArray[np.uint8]:
    """The mean of the light of consecutive frames, uint8 [H,W,3] each -> uint8 [H,W,3], a new array.

    Raises:
        DataError: a frame is of another type or shape, or empty.
    """
    total = effects.light(frames[0])
    for frame in frames[1:]:
        total += effects.light(frame)
    return effects.pixels(total / np.float32(len(frames)))
