"""Every conversion of pixels: PIL images, NumPy arrays and torch tensors <-> the signal that networks work on.

Neither PIL nor torch is imported here: an image of theirs can only come from a program that has imported it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ucdir.errors import ConfigError, DataError

Pixels = npt.NDArray[np.unsignedinteger[Any]]
"""uint8 or uint16 over the full range, 0..255 or 0..65535."""

Rgb8 = npt.NDArray[np.uint8]

Signal = npt.NDArray[np.float32]
"""[B,3,H,W], nominally in [-1,1]."""

_OVERSHOOT: Final = 0.5
"""How far beyond [0,1] floating-point images may reach: resizing with a sharp filter overshoots."""

_GREY: Final = ("1", "L", "LA", "La")
"""Modes of PIL."""

_ROWS: Final = 256
"""Rows that are converted at once, so that intermediate results stay small."""


def middle(image: Rgb8, side: int) -> Rgb8:
    """The middle of an image [H,W,3], at most side x side pixels, as a contiguous array."""
    height, width = (min(side, size) for size in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def to_signal(image: Any) -> Signal:
    """Images -> a new float32 array [B,3,H,W] in [-1,1]; grey fills all three channels, transparency is dropped.

    Args:
        image: one of

            - a PIL image with 8 bits a sample;
            - an array [H,W,C] or [B,H,W,C] with 3 channels or 1: uint8, uint16, or floating point in [0,1];
            - a torch tensor [3,H,W] or [B,3,H,W], floating point in [0,1], on any device;
            - a list of single images of one size.

    Raises:
        ConfigError: it is none of these, its values lie outside the range, or sizes differ.

    Example:
        >>> to_signal(np.array([[[0], [255]]], np.uint8))[0, :, 0].tolist()
        [[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]
    """
    if isinstance(image, (list, tuple)):
        return _batch(image)
    if _is_a(image, "torch", "Tensor"):
        if not image.is_floating_point():
            raise ConfigError(f"image: a tensor is floating point in [0,1], found {image.dtype}.")
        if image.ndim not in (3, 4) or image.shape[-3] != 3:
            raise ConfigError(f"image: a tensor is [3,H,W] or [B,3,H,W], found {list(image.shape)}.")
        planes = image.detach().to("cpu", sys.modules["torch"].float32).numpy()
    else:
        array = _pil_array(image) if _is_a(image, "PIL.Image", "Image") else image
        if not isinstance(array, np.ndarray):
            raise ConfigError(f"image: expected PIL images, arrays or tensors, found {type(image).__name__}.")
        if array.ndim not in (3, 4) or array.shape[-1] not in (1, 3):
            raise ConfigError(f"image: an array is [H,W,3] or [B,H,W,3], found {list(array.shape)}.")
        if array.dtype not in (np.uint8, np.uint16) and not np.issubdtype(array.dtype, np.floating):
            raise ConfigError(
                f"image: an array is uint8, uint16 or floating point in [0,1], found {array.dtype}."
            )
        planes = np.moveaxis(array, -1, -3)
    if planes.size == 0:
        raise ConfigError(
            f"image: expected at least one pixel, found {list(getattr(image, 'shape', image.size))}."
        )
    batch, _, height, width = planes.shape if planes.ndim == 4 else (1, *planes.shape)
    signal = np.empty((batch, 3, height, width), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are refused below
        np.divide(planes, _peak(planes.dtype) / 2, out=signal, dtype=np.float32, casting="unsafe")
    signal -= 1
    if planes.dtype.kind == "f":
        _check_range(float(signal.min()) / 2 + 0.5, float(signal.max()) / 2 + 0.5)
    return signal


def from_signal(signal: Signal, like: Any) -> Any:
    """The inverse of `to_signal`: values beyond the range are clipped, those of integer types rounded.

    Args:
        signal: [B,3,H,W] in [-1,1]; it is left as it is.
        like: what `to_signal` was given.

    Returns:
        images of the kind, type, device and number of dimensions of `like`. Grey is the mean of the three channels. A
        PIL image is of mode L or RGB, and keeps its colour profile and EXIF; the orientation is kept, not applied.
    """
    if isinstance(like, (list, tuple)):
        return [from_signal(signal[i : i + 1], one) for i, one in enumerate(like)]
    batch, _, height, width = signal.shape
    if _is_a(like, "torch", "Tensor"):
        planes = np.empty(signal.shape, np.float32)
        _convert(signal, planes)
        images = sys.modules["torch"].from_numpy(planes).to(like.device, like.dtype)
        return images if like.ndim == 4 else images[0]
    if _is_a(like, "PIL.Image", "Image"):
        pixels = from_signal(signal, np.empty((1, 1, 1 if _is_grey(like) else 3), np.uint8))
        made = sys.modules["PIL.Image"].fromarray(pixels[..., 0] if _is_grey(like) else pixels)
        if "icc_profile" in like.info and like.mode in (*_GREY, "P", "RGB", "RGBA"):
            made.info["icc_profile"] = like.info["icc_profile"]
        if "exif" in like.info:
            made.info["exif"] = like.info["exif"]
        return made
    array = np.empty((batch, height, width, like.shape[-1]), like.dtype)
    _convert(signal, np.moveaxis(array, -1, 1))
    return array if like.ndim == 4 else array[0]


def to_uint8(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """uint16 rounded to uint8, `⌊255 v / 65535 + 1/2⌋`; uint8 is returned as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    table = ((np.arange(65_536, dtype=np.uint32) * 255 + 32_767) // 65_535).astype(np.uint8)
    return table[pixels]


def to_rgb8(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """uint8 or uint16 [H,W,1] or [H,W,3] -> contiguous uint8 [H,W,3]."""
    return np.ascontiguousarray(np.broadcast_to(to_uint8(pixels), (*pixels.shape[:2], 3)))


def check_rgb8(image: object, taker: str) -> None:
    """Refuse what is not a uint8 RGB array [H,W,3] of at least one pixel.

    Raises:
        DataError: `taker`, such as "a blur", cannot take it.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = (
            f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        )
        raise DataError(f"{taker} takes a uint8 RGB array [H,W,3], found {found}; convert it first.")
    if image.size == 0:
        raise DataError(
            f"{taker} takes an image of at least one pixel, found {list(image.shape)}; give another."
        )


def _is_a(image: object, module: str, name: str) -> bool:
    """Whether an object is of a class of a module that may not be imported, or that another thread is importing."""
    return isinstance(image, getattr(sys.modules.get(module), name, ()))


def _is_grey(image: Any) -> bool:
    return image.mode in _GREY


def _pil_array(image: Any) -> npt.NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):  # converting them would clip everything above 255
        raise ConfigError(
            f"image: a PIL image has 8 bits a sample, found mode {image.mode!r}; give an array in [0,1]."
        )
    if image.mode == "La":  # multiplied by its alpha, which PIL converts to LA alone
        image = image.convert("LA")
    array: npt.NDArray[np.uint8] = np.asarray(image.convert("L" if _is_grey(image) else "RGB"))
    return array if array.ndim == 3 else array[..., None]


def _batch(images: list[Any] | tuple[Any, ...]) -> Signal:
    if not images:
        raise ConfigError("image: the list is empty; give at least one image.")
    signals = [to_signal(image) for image in images]
    sizes = sorted({signal.shape[2:] for signal in signals})
    if len(sizes) > 1:
        raise ConfigError(
            f"image: a batch holds images of one size, found {sizes} (height, width); restore them one by one."
        )
    if any(len(signal) > 1 for signal in signals):
        raise ConfigError("image: a list holds single images, found a batch in it; concatenate the batches.")
    return signals[0] if len(signals) == 1 else np.concatenate(signals)


def _check_range(low: float, high: float) -> None:
    if not -_OVERSHOOT <= low <= high <= 1 + _OVERSHOOT:  # false for NaN too
        if not np.isfinite(low + high):
            hint = "remove what is not a finite number"
        else:
            hint = (
                "convert [-1,1] by (x + 1) / 2" if low < -_OVERSHOOT and high <= 2 else "divide 0..255 by 255"
            )
        raise ConfigError(f"image: values from {low:g} to {high:g} where [0,1] is expected; {hint}.")


def _peak(dtype: np.dtype[Any]) -> int:
    """What white is in an image of this type."""
    return 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)


def _convert(signal: Signal, planes: npt.NDArray[Any]) -> None:
    """Fill `planes` [B,C,H,W], C = 1 or 3, of any type."""
    peak = _peak(planes.dtype)
    for image, target in zip(signal, planes, strict=True):
        for top in range(0, image.shape[1], _ROWS):
            rows = image[:, top : top + _ROWS]
            if len(target) == 1:
                rows = rows.mean(axis=0, keepdims=True)
            rows = np.clip((rows + 1) * (peak / 2), 0, peak)
            target[:, top : top + _ROWS] = rows if planes.dtype.kind == "f" else np.rint(rows)
