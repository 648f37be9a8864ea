"""A photograph as networks see it, in the numbers of sRGB, and the restored one back in the photograph's own space.

Most photographs are sRGB: then the numbers stay as they are, and nothing is copied that `pixels.py` would not copy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ucdir.images.camera import linear_to_srgb, srgb_to_linear
from ucdir.images.icc import ColourSpace, colour_space
from ucdir.images.photo import Photo
from ucdir.images.pixels import Pixels, Signal, from_signal, to_signal

PURE_RADIUS = 4
"""How many pixels away from everything else black or white is kept pure."""

_ROWS = 128
"""Rows that are converted at once, so that intermediate results stay small."""


def own_space(photo: Photo) -> ColourSpace | None:
    """The space of a photograph's profile; None where it has none, it is nearly sRGB, or it cannot be converted."""
    space = None if photo.metadata.icc is None else colour_space(photo.metadata.icc)
    return (
        None if space is None or space.is_nearly_srgb or len(space.light) != photo.pixels.shape[2] else space
    )


def to_srgb_signal(photo: Photo) -> Signal:
    """What networks are given, float32 [1,3,H,W] in [-1,1].

    What lies outside of sRGB is clipped here, but not lost, see `from_srgb_signal`. Pixels that nobody sees, fully
    transparent ones, take the colours around them, so that theirs do not bleed in.
    """
    pixels, space = photo.pixels, own_space(photo)
    if photo.alpha is not None and not photo.alpha.all():
        pixels = filled(pixels, photo.alpha > 0)
    if space is None:
        return to_signal(pixels)
    height, width, _ = pixels.shape
    signal: Signal = np.empty((1, 3, height, width), np.float32)
    for top in range(0, height, _ROWS):
        rows = np.s_[top : top + _ROWS]
        signal[0, :, rows] = np.moveaxis(space.srgb(pixels[rows]) * 2 - 1, -1, 0)
    return signal


def from_srgb_signal(signal: Signal, photo: Photo) -> Pixels:
    """The restored photograph in its own space, of the shape and type of `photo.pixels`.

    What the networks changed is added in that space, so a colour outside of sRGB stays what it is where they changed
    nothing. Fully transparent pixels stay as they are, and so does black or white with nothing else near, as around
    text: what was sampled there is grain.

    Args:
        signal: [1,3,H,W] in [-1,1]; it is left as it is.
        photo: as `to_srgb_signal` was given it.
    """
    space, own = own_space(photo), photo.pixels
    if space is None:
        pixels: Pixels = from_signal(signal, own)
    else:
        pixels, peak = np.empty_like(own), np.iinfo(own.dtype).max
        for top in range(0, len(own), _ROWS):
            rows = np.s_[top : top + _ROWS]
            restored = np.moveaxis(signal[0, :, rows], 0, -1) / 2 + 0.5
            if own.shape[2] == 1:
                restored = restored.mean(axis=2, keepdims=True)
            change = space.samples(restored) - space.samples(space.srgb(own[rows]))
            pixels[rows] = np.rint(np.clip(own[rows] + change * peak, 0, peak))
    if photo.alpha is not None and not photo.alpha.all():
        np.copyto(pixels, own, where=(photo.alpha == 0)[..., None])
    for level in (0, np.iinfo(own.dtype).max):
        if (pure := _alone(own, level)) is not None:
            np.copyto(pixels, own, where=pure[..., None])
    return pixels


def _alone(pixels: Pixels, level: int) -> NDArray[np.bool_] | None:
    """Where all channels of a pixel, and of all within `PURE_RADIUS` of it, have this level, [H,W]; None if nowhere."""
    found: NDArray[np.bool_] = pixels[..., 0] == level
    for channel in range(1, pixels.shape[2]):
        found &= pixels[..., channel] == level
    for lines in (found, found.T):
        if not found.any():
            return None
        before = lines.copy()
        for step in range(1, PURE_RADIUS + 1):
            lines[step:] &= before[:-step]
            lines[:-step] &= before[step:]
    return found


def as_srgb(photo: Photo) -> Photo:
    """The photograph in sRGB and without its profile, clipped to sRGB; as it is where it is nearly sRGB."""
    space = own_space(photo)
    if space is None:
        return photo
    pixels, peak = np.empty_like(photo.pixels), np.iinfo(photo.pixels.dtype).max
    for top in range(0, len(pixels), _ROWS):
        rows = np.s_[top : top + _ROWS]
        pixels[rows] = np.rint(space.srgb(photo.pixels[rows]) * peak)
    return replace(photo, pixels=pixels, metadata=replace(photo.metadata, icc=None))


def amplified(photo: Photo, ratio: float) -> Pixels:
    """The pixels of a photograph with its light multiplied, in its own space; what exceeds white is white."""
    space, own = own_space(photo), photo.pixels
    peak = np.iinfo(own.dtype).max
    codes = np.linspace(0, 1, peak + 1, dtype=np.float32)
    if space is None:
        table = np.rint(linear_to_srgb(srgb_to_linear(codes) * np.float32(ratio)) * peak).astype(own.dtype)
        return table[own]
    tables = [
        np.rint(np.interp(light[:: 65_535 // peak] * ratio, light, np.linspace(0, peak, 65_536))).astype(
            own.dtype
        )
        for light in space.light
    ]
    return np.stack([table[own[..., i]] for i, table in enumerate(tables)], axis=-1)


def filled(pixels: Pixels, known: NDArray[np.bool_]) -> Pixels:
    """A copy of pixels [H,W,C] in which those that are not known take the mean of the nearest known ones.

    Means over 2x2 pixels, over 2x2 of these, and so on; a pixel takes the finest mean that there is of it.
    """
    height, width, channels = pixels.shape
    if known.all() or not known.any():
        return pixels.copy()
    sums = np.zeros(((height + 1) // 2, (width + 1) // 2, channels), np.float32)
    count = np.zeros(sums.shape[:2], np.float32)
    for y in (0, 1):
        for x in (0, 1):
            part, there = pixels[y::2, x::2], known[y::2, x::2]
            inside = np.s_[: part.shape[0], : part.shape[1]]
            sums[inside] += part * there[..., None]
            count[inside] += there
    sums /= np.maximum(count, 1)[..., None]
    means = filled(sums, count > 0)
    result = pixels.copy()
    for y in (0, 1):
        for x in (0, 1):
            part, there = result[y::2, x::2], known[y::2, x::2]
            part[~there] = means[: part.shape[0], : part.shape[1]][~there]
    return result
