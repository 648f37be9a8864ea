"""The AKGM (Eq. 2) against one dense 3x3 convolution of the same channels and size: time, memory, error.

    python benchmarks/akgm.py [--side 128] [--channels 32 64 128] [--bases 4] [--dtype float32] [--threads N]
    python benchmarks/akgm.py --device cuda --dtype bfloat16 --batch 16 --side 256 --bases 8      with the fused kernel

All forms take turns in each round, and the smallest time of the rounds counts, so that a busy machine slows all alike.
On a GPU a run is a CUDA graph of ten: what launching costs, which is more than most of these take, is not counted.
Forward, weights are arranged before; both ways, as in a training step, it is counted for all.
`straight` is the form that the formula suggests, as the authors' release has it: one convolution in N groups with N·C
outputs, then the weighted sum. The error is the largest difference to the reference in float64, relative to its largest
value. The memory is what the form allocates beyond its arguments at the most.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ucdir.model.akgm.cached_cast import cached_cast, cached_casts
from ucdir.model.akgm.grouped import akgm_grouped
from ucdir.model.akgm.reference import akgm_reference
from ucdir.model.akgm.strips import akgm_strips


def straight(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """conv2d in N groups, then Σ_b M[b]·out[b]."""
    count = fusion_weights.shape[1]
    out = F.conv2d(x, bases, padding=1, groups=count)
    return (out.unflatten(1, (-1, count)) * fusion_weights[:, None]).sum(2)


def dense(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """One ordinary convolution with as many multiply-accumulates."""
    shape = (x.shape[1], x.shape[1], 3, 3)
    weight = cached_cast(
        bases, "dense", lambda: bases.reshape(shape).contiguous(memory_format=torch.channels_last)
    )
    return F.conv2d(x, weight, padding=1)


def forms_of(device: str, dtype: torch.dtype) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """The forms that run on a device."""
    if device == "cpu":
        return FORMS if dtype == torch.float32 else {**FORMS, "strips": akgm_strips}
    from ucdir.model.akgm.triton import akgm_fused

    return {**FORMS, "fused": akgm_fused}


def seconds(run: Callable[[], object], device: str) -> float:
    """Of one run, the device's work included."""
    if device != "cpu":
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began


REPEATS = 10
"""Of what is captured in one graph."""


def captured(run: Callable[[], object]) -> Callable[[], object]:
    """`REPEATS` runs as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # libraries choose and allocate in the first runs
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(REPEATS):
            run()
    return graph.replay


Form = TypeVar("Form", bound=Hashable)


def best_of(runs: Mapping[Form, Callable[[], object]], rounds: int, device: str) -> dict[Form, float]:
    """Smallest seconds of each, which take turns in each round."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            best[name] = min(best[name], seconds(run, device))
    return best


def machine(device: str) -> str:
    """Its name, for the head of a table."""
    return platform.machine() if device == "cpu" else torch.cuda.get_device_name()


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "dense convolution": dense,
    "straight": straight,
    "grouped": akgm_grouped,
}


def forward(form: Callable[[Tensor, Tensor, Tensor], Tensor], arguments: tuple[Tensor, ...]) -> None:
    """One forward pass, no gradients kept."""
    with torch.no_grad():
        form(*arguments)


def both_ways(form: Callable[[Tensor, Tensor, Tensor], Tensor], arguments: tuple[Tensor, ...]) -> None:
    """Forward and backward, in all three arguments."""
    leaves = [a.detach().requires_grad_() for a in arguments]
    form(*leaves).sum().backward()


def peak_bytes(run: Callable[[], None], device: str) -> int:
    """Most that is allocated at a time during a run."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    held = most = 0
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--bases", type=int, default=4)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype)
    print(
        f"{machine(arguments.device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{arguments.dtype}, N = {arguments.bases}, {arguments.batch} x {arguments.side}x{arguments.side}"
    )
    print(f"{'C':>4}  {'form':18}{'ms':>9}{'ratio':>8}{'ms both ways':>14}{'ratio':>8}{'MB':>8}{'error':>10}")
    for channels in arguments.channels:
        generator = torch.Generator().manual_seed(0)
        size = arguments.side, arguments.side
        x = torch.randn(arguments.batch, channels, *size, generator=generator)
        fusion_weights = torch.randn(arguments.batch, arguments.bases, *size, generator=generator)
        shape = (channels * arguments.bases, channels // arguments.bases, 3, 3)
        bases = torch.randn(shape, generator=generator) * (9 * channels) ** -0.5
        given = tuple(
            t.to(arguments.device, dtype).contiguous(memory_format=torch.channels_last)
            for t in (x, fusion_weights, bases)
        )
        given = (*given[:2], torch.nn.Parameter(given[2], requires_grad=False))
        forms = forms_of(arguments.device, dtype)
        runs = {
            (name, way): partial(way, form, given)
            for name, form in forms.items()
            for way in (forward, both_ways)
        }
        runs.pop(("strips", both_ways), None)  # has no gradient
        with cached_casts(arguments.device):  # as while a photograph is restored
            if arguments.device == "cpu":
                best = best_of(runs, arguments.rounds, "cpu")
            else:
                torch.backends.cudnn.benchmark = True  # one size at a time
                graphs = {form: captured(run) for form, run in runs.items()}
                best = best_of(graphs, arguments.rounds, arguments.device)
                best = {form: spent / REPEATS for form, spent in best.items()}
                del graphs
        small = tuple(t[:1, :, :24, :24] if i < 2 else t for i, t in enumerate(given))
        expected = akgm_reference(*(t.double() for t in small))
        for name, form in forms.items():
            error = ""
            if name != "dense convolution":
                error = f"{float((form(*small).double() - expected).abs().max() / expected.abs().max()):.1e}"
            memory = peak_bytes(partial(forward, form, given), arguments.device) / 1e6
            one, two = (best.get((name, way), float("nan")) for way in (forward, both_ways))
            one_dense, two_dense = (best["dense convolution", way] for way in (forward, both_ways))
            print(
                f"{channels:4}  {name:18}{one * 1e3:9.2f}{one / one_dense:8.2f}{two * 1e3:14.2f}"
                f"{two / two_dense:8.2f}{memory:8.1f}{error:>10}"
            )


if __name__ == "__main__":
    main()
