"""A GPU at work: images/s of the pretrained network and of its training, and what share of the processor that is.

    python benchmarks/throughput.py [--task jpeg_restoration] [--side 256] [--batches 1 16 64] [--precision bf16 fp32]

An image is one forward pass of f_θ, which is one step. `eager` is as the pipeline runs a single one, with the AKGM of
each kernel; `graph` is the same captured as the engine captures many (`engines.cuda_graphs`), so that launching costs
nothing; `compiled` is torch.compile. A training image is a crop's share of forward, backward and optimizer of the
objective `sampler_aware` with LPIPS, without reading photos. All take turns in each round, and the least time
counts. The share of the peak is in multiply-accumulates as `model.cost` counts them, against a product of two 8192x8192
bf16 matrices in the same run.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from akgm import best_of, machine, seconds
from torch import Tensor

from ucdir.config.yaml_file import read_yaml
from ucdir.engines.cuda_graphs import WARM_UP_PASSES, CudaGraphRunner
from ucdir.engines.devices import PRECISIONS
from ucdir.model.akgm.cached_cast import cached_casts
from ucdir.model.akgm.dispatch import KERNELS
from ucdir.model.cim import AdaptiveKernelGuidance
from ucdir.model.cost import macs
from ucdir.model.pretrained import model_folder
from ucdir.model.weights import load_model
from ucdir.training.model import new_model


def peak(rounds: int) -> float:
    """Multiply-accumulates a second of a large matrix product in bf16, on numbers that are not all alike."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 8192**3 / min(seconds(lambda: a @ b, "cuda") for _ in range(rounds + 2))


def with_kernel(network: Any, name: str) -> Any:
    """A copy of a network whose AKGM runs in this kernel."""
    network = copy.deepcopy(network)
    for block in network.modules():
        if isinstance(block, AdaptiveKernelGuidance):
            block.kernel = KERNELS[name]
    return network


def forward_passes(network: Any, batch: int, side: int, precision: str, *, compiled: bool) -> dict[str, Any]:
    """By name, one forward pass of a batch."""
    image = torch.rand(batch, 3, side, side, device="cuda") * 2 - 1
    images = [image.contiguous(memory_format=torch.channels_last)] * 3
    level = torch.full((batch,), 0.5, device="cuda")

    def form(function: Callable[..., Tensor]) -> Callable[[], Tensor]:
        reduced = precision != "fp32"

        def run() -> Tensor:
            with torch.no_grad(), torch.autocast("cuda", PRECISIONS[precision], enabled=reduced):
                return function(*images, level, {})

        for _ in range(WARM_UP_PASSES + 1):  # warm-up, and the capture
            run()
        return run

    forms: dict[str, Any] = {}
    for kernel in ("grouped", "fused"):
        copied = with_kernel(network, kernel)
        forms[f"eager, {kernel}"] = form(copied)
        forms[f"graph, {kernel}"] = form(CudaGraphRunner(copied))
    if compiled:
        forms["compiled, grouped"] = form(torch.compile(with_kernel(network, "grouped"), dynamic=False))
    return forms


def training_steps(task: str, batch: int, side: int) -> dict[str, Any]:
    """By name, one training step of a batch in bf16."""
    from ucdir.config import parse_config

    values: Any = read_yaml(model_folder(task) / "training.yaml")
    values["training"] |= {"initial": None, "objective": "sampler_aware"}
    config = parse_config(values, task)
    clean = torch.rand(batch, 3, side, side, device="cuda") * 2 - 1
    batch_of = {
        "clean": clean,
        "degraded": clean,
        "noise": torch.randn_like(clean),
        "step": torch.zeros(batch),
    }
    forms = {}
    for kernel in ("grouped", "fused"):
        model = with_kernel(new_model(config, torch.device("cuda")), kernel)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

        def run(model: Any = model, optimizer: Any = optimizer) -> None:
            with torch.autocast("cuda", torch.bfloat16):
                losses = model(batch_of)
            torch.stack([*losses.values()]).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        run()
        forms[f"training, {kernel}"] = run
    return forms


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="jpeg_restoration")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["bf16"])
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--crops", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compiled", action="store_true", help="Also torch.compile, which takes a minute.")
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True  # one size at a time
    most = peak(arguments.rounds)
    print(f"{machine('cuda')}, torch {torch.__version__}, peak {2 * most / 1e12:.0f} TFLOP/s in bf16")
    _, network, _ = load_model(model_folder(arguments.task))
    cost = macs(copy.deepcopy(network).to("meta"), arguments.side)
    network.to("cuda", memory_format=torch.channels_last)
    print(f"{'':34}{'batch':>6}{'ms':>9}{'images/s':>10}{'share of the peak':>19}")
    for precision in arguments.precision:
        for batch in arguments.batches:
            with cached_casts("cuda"):
                forms = forward_passes(network, batch, arguments.side, precision, compiled=arguments.compiled)
                best = best_of(forms, arguments.rounds, "cuda")
            for name, spent in best.items():
                print(
                    f"{name + ', ' + precision:34}{batch:6}{spent * 1e3:9.2f}{batch / spent:10.0f}"
                    f"{cost * batch / spent / most:19.1%}", flush=True,
                )  # fmt: skip
    steps = training_steps(arguments.task, arguments.crops, arguments.crop)
    for name, spent in best_of(steps, arguments.rounds, "cuda").items():
        print(
            f"{name + ', bf16':34}{arguments.crops:6}{spent * 1e3:9.2f}{arguments.crops / spent:10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
