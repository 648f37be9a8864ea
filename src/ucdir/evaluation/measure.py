"""The metrics of one picture, and the distances between all pictures and all truths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from ucdir.errors import ConfigError, DataError
from ucdir.evaluation.cases import Pixels
from ucdir.images.pixels import to_signal
from ucdir.metrics import Lpips, Niqe, find_features, frechet_distance, kernel_distance, patches, psnr, ssim

BATCH = 16
"""Patches that features are taken of at once."""


@cache
def _lpips() -> Lpips:
    return Lpips()


@cache
def _niqe(antialiased: bool) -> Niqe:
    return Niqe(antialiased=antialiased)


@cache
def _features() -> Any:
    return find_features()


EACH: dict[str, Callable[[Tensor, Tensor], float]] = {
    "psnr": lambda restored, truth: float(psnr(restored, truth)),
    "ssim": lambda restored, truth: float(ssim(restored, truth)),
    "lpips": lambda restored, truth: float(_lpips()(restored, truth)),
    "niqe": lambda restored, truth: _niqe(True)(restored)[0],
    "niqe_2021": lambda restored, truth: _niqe(False)(restored)[0],
}
"""Metrics of a picture, by name: (restored, truth) [1,3,H,W] in [-1,1] -> number. `niqe_2021` halves without
antialiasing, as BasicSR did until 1.3.4."""

TOGETHER: dict[str, Callable[[Tensor, Tensor], float]] = {
    "fid": frechet_distance,
    "kid": partial(kernel_distance, seed=0),
}
"""Distances of distributions, by name: features [n,D] of (restored, truth) -> number."""

METRICS = (*EACH, *TOGETHER)
DEFAULT = ("psnr", "ssim", "lpips", "niqe", "fid", "kid")
HIGHER_IS_BETTER = frozenset({"psnr", "ssim"})


def check_metrics(names: Sequence[str]) -> None:
    """Refuse names of no metric, and metrics whose weights are missing, before hours are spent.

    Raises:
        ConfigError: a name is unknown.
        WeightsError: weights are missing; the message says where to get them.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise ConfigError(f"metrics {', '.join(unknown) or '(none)'}: choose of {', '.join(METRICS)}.")
    if "lpips" in names:
        _lpips()
    for name in {"niqe", "niqe_2021"} & set(names):
        _niqe(name == "niqe")
    if set(TOGETHER) & set(names):
        _features()


@torch.no_grad()
def measure(name: str, restored: Pixels, truth: Pixels) -> float | None:
    """One metric of one picture; None where the picture is too small for it."""
    try:
        return EACH[name](torch.from_numpy(to_signal(restored)), torch.from_numpy(to_signal(truth)))
    except DataError:
        return None


@torch.no_grad()
def features_of(pixels: Pixels) -> Tensor:
    """Features of the 256x256 patches of a picture: [n,D], float32."""
    network = _features()
    found = [
        network(batch)
        for batch in torch.split(patches(torch.from_numpy(to_signal(pixels))), BATCH)
        if len(batch)
    ]
    return torch.cat(found) if found else torch.empty(0, network.num_features)


def distance(name: str, restored: Sequence[Tensor], truth: Sequence[Tensor]) -> float | None:
    """A distance between all pictures and all truths; None where they hold too few patches."""
    a, b = torch.cat(list(restored)), torch.cat(list(truth))
    return None if min(len(a), len(b)) < 2 else TOGETHER[name](a, b)


def published_name(name: str) -> str:
    """`fid` and `kid` by the name of the features that there are: they are FID and KID with Inception's alone."""
    if name not in TOGETHER:
        return name
    network = _features()
    return str(network.frechet_name if name == "fid" else network.kernel_name)
