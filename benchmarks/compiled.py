"""torch.compile against eager execution: a forward pass of the diffusion model, and a training step; time and error.

    python benchmarks/compiled.py [--task jpeg_restoration] [--sides 256 512] [--crop 96] [--batch 8] [--threads N]

Both forms of the pretrained network take turns, and the smallest time of the rounds counts. `first` is the first call,
with the compiler's work in it (less if an earlier run left its cache). A training step is forward and backward through
predictor and diffusion model with the squared error of the noise. The error is the largest difference in the result,
relative to its largest value.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from akgm import best_of, seconds
from torch import Tensor

from ucdir.model.pretrained import model_folder
from ucdir.model.weights import load_model


def forward_pass(network: Callable[..., Tensor], image: Tensor) -> Tensor:
    """Of f_θ, no gradients kept."""
    with torch.no_grad():
        return network(image, image, image, torch.full((len(image),), 0.5), {})


def training_step(networks: Sequence[Any], predictor: Any, diffusion_model: Any, image: Tensor) -> Tensor:
    """Forward and backward; the result is the gradient of the first layer."""
    for network in networks:
        network.zero_grad()
    guidance = predictor(image)
    noise = diffusion_model(image, image, guidance, torch.full((len(image),), 0.5), {})
    (noise - image).square().mean().backward()
    gradient: Tensor = networks[0].unet.stem.weight.grad
    return gradient.clone()


def compare(name: str, eager: Callable[[], Tensor], compiled: Callable[[], Tensor], rounds: int) -> None:
    """Print one line."""
    results: list[Tensor] = []
    first = seconds(lambda: results.append(compiled()), "cpu")
    expected = eager()
    error = float((results[0] - expected).abs().max() / expected.abs().max())
    best = [*best_of({"eager": eager, "compiled": compiled}, rounds, "cpu").values()]
    print(
        f"{name:28}{best[0]:9.3f}{best[1]:10.3f}{best[1] / best[0]:8.2f}{first:9.1f}{error:10.1e}", flush=True
    )


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="jpeg_restoration")
    parser.add_argument("--sides", type=int, nargs="*", default=[256, 512])
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    predictor, network, _ = load_model(model_folder(arguments.task))
    whole, first = (torch.compile(n, dynamic=False) for n in (network, predictor))
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, fp32")
    print(f"{'':28}{'eager s':>9}{'compiled':>10}{'ratio':>8}{'first s':>9}{'error':>10}")
    generator = torch.Generator().manual_seed(0)
    for side in arguments.sides:
        image = torch.rand(1, 3, side, side, generator=generator) * 2 - 1
        compare(
            f"forward pass, {side}x{side}", partial(forward_pass, network, image), partial(forward_pass, whole, image),
            arguments.rounds,
        )  # fmt: skip
    batch = torch.rand(arguments.batch, 3, arguments.crop, arguments.crop, generator=generator) * 2 - 1
    compare(
        f"training step, {arguments.batch} x {arguments.crop}x{arguments.crop}",
        partial(training_step, (predictor, network), predictor, network, batch),
        partial(training_step, (predictor, network), first, whole, batch), arguments.rounds,
    )  # fmt: skip


if __name__ == "__main__":
    main()
