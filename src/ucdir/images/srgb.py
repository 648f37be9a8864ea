"""A photograph as networks see it, in the numbers of sRGB, and the restored one back in the photograph's own space.

Most photographs are sRGB: then the numbers stay as they are, and nothing is copied that `pixels.py` would not copy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ucdir.images.camera import linear_to_srgb, srgb_to_linear
from ucdir.images.icc import ColourSpace, colour_space
from ucdir.images.large import like
from ucdir.images.photo import Photo
from ucdir.images.pixels import Pixels, Signal, from_signal, to_signal
from ucdir.memory import in_bands, is_turned, release

PURE_RADIUS = 4
"""How many pixels away from everything else black or white is kept pure."""

_ALL = slice(None)
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
    if photo.alpha is not None and not photo.alpha.all():
        photo = replace(photo, pixels=filled(photo.pixels, photo.alpha > 0))
    pixels, space = photo.pixels, own_space(photo)
    return _signal(pixels, space)


def _signal(pixels: Pixels, space: ColourSpace | None) -> Signal:
    if space is None:
        return to_signal(pixels)
    height, width, _ = pixels.shape
    signal: Signal = np.empty((1, 3, height, width), np.float32)
    for top in range(0, height, _ROWS):
        rows = np.s_[top : top + _ROWS]
        signal[0, :, rows] = np.moveaxis(space.srgb(pixels[rows]) * 2 - 1, -1, 0)
    return signal


def from_srgb_signal(
    signal: Signal, photo: Photo, around: Pixels | None = None, at: tuple[slice, slice] = (_ALL, _ALL)
) -> Pixels:
    """The restored photograph in its own space, of the shape and type of `photo.pixels`.

    What the networks changed is added in that space, so a colour outside of sRGB stays what it is where they changed
    nothing. Fully transparent pixels stay as they are, and so does black or white with nothing else near, as around
    text: what was sampled there is grain.

    Args:
        signal: [1,3,H,W] in [-1,1]; it is left as it is.
        photo: as `to_srgb_signal` was given it.
        around: of a part of a larger photograph, the pixels of a part with `PURE_RADIUS` more on each side.
        at: rows and columns of the photograph in it.
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
        if (pure := _alone(own if around is None else around, level)) is not None:
            np.copyto(pixels, own, where=pure[at][..., None])
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
        tables = [table] * own.shape[2]
    else:
        tables = [
            np.rint(np.interp(light[:: 65_535 // peak] * ratio, light, np.linspace(0, peak, 65_536))).astype(
                own.dtype
            )
            for light in space.light
        ]
    result = like(own)
    if is_turned(own):
        own, result = own.swapaxes(0, 1), result.swapaxes(0, 1)
    for band in in_bands(own, 0, len(own)):
        for top in range(band.start, band.stop, _ROWS):  # NumPy makes 8 bytes of each level that it looks up
            rows = slice(top, min(top + _ROWS, band.stop))
            for i, table in enumerate(tables):
                result[rows, :, i] = table[own[rows, :, i]]
        release(result)
    return result if own is photo.pixels else result.swapaxes(0, 1)


def filled(
    pixels: Pixels, known: NDArray[np.bool_], halvings: int = -1, last: NDArray[np.float32] | None = None
) -> Pixels:
    """A copy of pixels [H,W,C] in which those that are not known take the mean of the nearest known ones.

    Means over 2x2 pixels, over 2x2 of these, and so on; a pixel takes the finest mean that there is of it.

    Args:
        pixels: of any type.
        known: [H,W].
        halvings: after how many of them `last` is taken; none: as many as there are.
        last: of a part of a larger image, the means of squares of 2^halvings pixels, filled themselves.
    """
    if known.all() or (last is None and not known.any()):
        return pixels.copy()
    if halvings == 0 and last is not None:
        return last  # type: ignore[return-value]
    means, there = halved(pixels, known)
    means = filled(means, there, halvings - 1, last)  # type: ignore[arg-type, assignment]
    result = pixels.copy()
    for y in (0, 1):
        for x in (0, 1):
            part, given = result[y::2, x::2], known[y::2, x::2]
            part[~given] = means[: part.shape[0], : part.shape[1]][~given]
    return result


def halved(
    pixels: Pixels | NDArray[np.float32], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Means of the known among 2x2 pixels [H,W,C], and where there are such."""
    height, width, channels = pixels.shape
    sums = np.zeros(((height + 1) // 2, (width + 1) // 2, channels), np.float32)
    count = np.zeros(sums.shape[:2], np.float32)
    for y in (0, 1):
        for x in (0, 1):
            part, there = pixels[y::2, x::2], known[y::2, x::2]
            inside = np.s_[: part.shape[0], : part.shape[1]]
            sums[inside] += part * there[..., None]
            count[inside] += there
    sums /= np.maximum(count, 1)[..., None]
    return sums, count > 0
