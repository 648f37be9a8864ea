"""The authors' released network, one forward pass: our execution against the straightforward form of the same network.

    python benchmarks/release.py [--side 256] [--rounds 3] [--threads N] [--device cuda] [--precision fp32 bf16]

Straightforward: the AKGM as one convolution in N groups with N·C outputs and a weighted sum, GroupNorm as PyTorch has
it, planes one after another (contiguous), float32. Ours: the kernels of `model.akgm`, channels last; on a GPU also
`captured`, as the engine runs many steps (`engines.cuda_graphs`). Weights are random, and both have the same. All take
turns, and the smallest time of the rounds counts. The error is the largest difference, relative to the largest value.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from akgm import best_of, machine, straight
from torch import Tensor
from torch.nn import GroupNorm

from ucdir.engines.cuda_graphs import WARM_UP_PASSES, CudaGraphRunner
from ucdir.engines.devices import PRECISIONS
from ucdir.model.akgm.cached_cast import cached_casts
from ucdir.model.release import ReleaseDiffusionModel, ReleaseDiffusionModelConfig, ResBlock, WholeNorm


def networks(device: str) -> tuple[ReleaseDiffusionModel, ReleaseDiffusionModel]:
    """(straightforward, ours) of the same weights."""
    torch.manual_seed(0)
    plain, ours = (ReleaseDiffusionModel(ReleaseDiffusionModelConfig()).eval() for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    for block in plain.modules():
        if isinstance(block, ResBlock):
            block.kernel = straight
        if isinstance(block, WholeNorm):
            block.forward = partial(GroupNorm.forward, block)
    return plain.to(device), ours.to(device, memory_format=torch.channels_last)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32"])
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device, side = arguments.device, arguments.side
    plain, ours = networks(device)
    images = [torch.randn(1, 3, side, side, device=device) for _ in range(3)]
    level = torch.full((1,), 0.8, device=device)

    def evaluate(network: Callable[..., Tensor], precision: str) -> Tensor:
        reduced = precision != "fp32"
        dtype = PRECISIONS[precision] if reduced else None
        with torch.no_grad(), torch.autocast(device, dtype, enabled=reduced):
            return network(*images, level, {})

    forms = {"straightforward": (plain, "fp32"), **{f"ours, {p}": (ours, p) for p in arguments.precision}}
    first = 1  # forward passes, which are slower
    if device != "cpu":
        forms |= {f"{name}, captured": (CudaGraphRunner(network), p) for name, (network, p) in forms.items()}
        first = WARM_UP_PASSES + 1
    with cached_casts(device):  # from step to step, as in the pipeline
        runs = {name: partial(evaluate, *form) for name, form in forms.items()}
        results = {name: [run() for _ in range(first)][-1].float() for name, run in runs.items()}
        best = best_of(runs, arguments.rounds, device)
    print(f"{machine(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, {side}x{side}")
    print(f"{'':27}{'s a step':>10}{'ratio':>8}{'error':>10}")
    expected = results["straightforward"]
    for name, spent in best.items():
        error = float((results[name] - expected).abs().max() / expected.abs().max())
        print(f"{name:27}{spent:10.4f}{spent / best['straightforward']:8.3f}{error:10.1e}")


if __name__ == "__main__":
    main()
