"""The classifier: small networks in NumPy, each for some questions, whose weights scripts/train_inspection.py makes."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

WEIGHTS: Final = Path(__file__).parents[1] / "weights" / "inspection.safetensors"

KINDS: Final = ("clean", "jpeg", "blur", "noise")
"""Of which the leading one is told."""
HEADS: Final[dict[str, tuple[str, ...]]] = {
    "leading": KINDS,
    "jpeg": ("has_jpeg", "quality"),
    "blur": ("has_blur", "log_length", "defocus"),
    "noise": ("has_noise", "log_noise", "correlated", "dark"),
}
"""What each network tells: logits, but for quality (hundredths) and the two logarithms."""
SPECTRAL: Final = ("leading", "blur")
"""Those that see what a convolutional network makes of the spectra, beside the features."""
STRIDES: Final = ((2, 1), (1, 2), (1, 2))
"""Of its layers, over directions and bands."""
LARGEST: Final = 4.0
"""Standard deviations from its mean at which a feature is cut off."""

Floats = NDArray[np.float32]


@cache
def weights() -> dict[str, Floats]:
    """By name: `mean`, `std`, see `standardised`; `spectra_mean`, `spectra_std`, see `standardised_spectra`; those of
    layers, [members,out,in,…] `.weight` and [members,out] `.bias`; `HEAD.inputs`, which features a head sees."""
    from safetensors.numpy import load_file

    return load_file(WEIGHTS)


def standardised(features: Floats, mean: Floats, std: Floats) -> Floats:
    """Features [...,F] in standard deviations."""
    clipped: Floats = np.clip((features - mean) / std, -LARGEST, LARGEST)
    return clipped


def leveled(spectra: Floats) -> tuple[Floats, Floats]:
    """Spectra [...,C,D,B], each less its mean but for the cepstrum, which is the last, and the mean of the first."""
    levels = spectra.mean(axis=(-2, -1), keepdims=True)
    levels[..., -1, :, :] = 0
    return spectra - levels, levels[..., 0, 0, 0]


def standardised_spectra(spectra: Floats, mean: Floats, std: Floats) -> tuple[Floats, Floats]:
    """Spectra [...,C,D,B] in standard deviations of each channel and band, and their level.

    Args:
        spectra: see `spectra`.
        mean: [C·B+1], the last one of the level.
        std: likewise.
    """
    planes, level = leveled(spectra)
    channels, _, bands = spectra.shape[-3:]
    own_mean, own_std = (part[:-1].reshape(channels, 1, bands) for part in (mean, std))
    return np.clip((planes - own_mean) / own_std, -5, 5), (level - mean[-1]) / std[-1]


def classify(features: Floats, spectra: Floats) -> dict[str, float]:
    """What the networks tell of a vector of features [F] and of spectra, by name; the mean of several for each
    question. `angle` is the direction of motion, in degrees from the horizontal, anticlockwise, 0 to 180."""
    known = weights()
    seen, directions = _convolved(spectra)
    every = standardised(features, known["mean"], known["std"])
    said = {"angle": _angle(directions)}
    for head, names in HEADS.items():
        x = every[known[f"{head}.inputs"].astype(np.int64)]
        x = np.repeat(x[None], len(known[f"{head}.0.bias"]), axis=0)  # [members,inputs]
        if head in SPECTRAL:
            x = np.concatenate([seen, x], axis=1)
        layers = sum(name.startswith(f"{head}.") and name.endswith(".weight") for name in known)
        for number in range(layers):
            x = _linear(x, f"{head}.{number}")
            if number < layers - 1:
                x = np.maximum(x, 0)
        said |= zip(names, x.mean(axis=0).tolist(), strict=True)
    return said


def _linear(x: Floats, name: str) -> Floats:
    """[members,in] -> [members,out]."""
    result: Floats = np.einsum("moi,mi->mo", weights()[f"{name}.weight"], x) + weights()[f"{name}.bias"]
    return result


def _convolved(spectra: Floats) -> tuple[Floats, Floats]:
    """What the heads see of the spectra, [members,n], and logits of directions, [members,D]."""
    known = weights()
    planes, level = standardised_spectra(spectra, known["spectra_mean"], known["spectra_std"])
    seen, directions = [], []
    for member in range(len(known["seen.bias"])):
        x = planes
        for number, stride in enumerate(STRIDES):
            name = f"convolution.{number}"
            x = _convolution(x, known[f"{name}.weight"][member], known[f"{name}.bias"][member], stride)
        pooled = np.concatenate([x.mean(axis=1).ravel(), x.max(axis=1).ravel(), [level]])
        seen.append(np.maximum(known["seen.weight"][member] @ pooled + known["seen.bias"][member], 0))
        directions.append(np.einsum("cdb,cb->d", x, known["direction.weight"][member]))
    return np.stack(seen), np.stack(directions)


def _convolution(x: Floats, weight: Floats, bias: Floats, stride: tuple[int, int]) -> Floats:
    """[C,D,B] -> [O,D/,B/], no value below 0; directions go round, beyond the bands the last ones are repeated."""
    high, wide = (side // 2 for side in weight.shape[2:])
    x = np.pad(x, ((0, 0), (high, high), (0, 0)), mode="wrap")
    x = np.pad(x, ((0, 0), (0, 0), (wide, wide)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1]]
    result = np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4])) + bias[:, None, None]
    positive: Floats = np.maximum(result, 0)
    return positive


def _angle(logits: Floats) -> float:
    """Of the mean over members and directions, which half a turn makes the same."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    turns = np.exp(2j * math.pi * np.arange(logits.shape[1]) / logits.shape[1])
    return float(-np.degrees(np.angle((shares @ turns).mean())) / 2 % 180)
