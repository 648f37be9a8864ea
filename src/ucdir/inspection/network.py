"""The classifier: small networks in NumPy, each for one question, whose weights scripts/train_inspection.py makes."""

from __future__ import annotations

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
LARGEST: Final = 4.0
"""Standard deviations from its mean at which a feature is cut off."""

Floats = NDArray[np.float32]


@cache
def weights() -> dict[str, Floats]:
    """By name: `mean`, `std`, `basis`, see `inputs`; `HEAD.LAYER.weight` [members,out,in], `.bias`, `HEAD.inputs`."""
    from safetensors.numpy import load_file

    return load_file(WEIGHTS)


def inputs(features: Floats, mean: Floats, std: Floats, basis: Floats) -> Floats:
    """Features [...,F] in standard deviations, the first of them, those of spectra, by their principal components."""
    x = np.clip((features - mean) / std, -LARGEST, LARGEST)
    spectral = len(basis)
    return np.concatenate([x[..., :spectral] @ basis, x[..., spectral:]], axis=-1)


def classify(features: Floats) -> dict[str, float]:
    """What the networks tell of a vector of features [F], by name; the mean of several for each question."""
    known = weights()
    every = inputs(features, known["mean"], known["std"], known["basis"])
    said: dict[str, float] = {}
    for head, names in HEADS.items():
        x = every[known[f"{head}.inputs"].astype(np.int64)]
        x = np.repeat(x[None], len(known[f"{head}.0.bias"]), axis=0)  # [members,inputs]
        layers = sum(name.startswith(head) and name.endswith(".weight") for name in known)
        for number in range(layers):
            x = np.einsum("moi,mi->mo", known[f"{head}.{number}.weight"], x) + known[f"{head}.{number}.bias"]
            if number < layers - 1:
                x = np.maximum(x, 0)
        said |= zip(names, x.mean(axis=0).tolist(), strict=True)
    return said
