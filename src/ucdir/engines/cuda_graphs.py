"""CUDA graphs: forward passes that are captured once and replayed with a single launch.

A network is hundreds of kernels, and for a small image launching them takes several times as long as running them. A
sampler calls the same network with the same shapes step after step, so the third forward pass of a shape is captured
as a graph, and the later ones replay it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from ucdir.errors import DeviceError, reason
from ucdir.model.akgm.cached_cast import autocast_dtype

WARM_UP_PASSES: Final = 2
"""Ordinary forward passes of each shape before the capture: libraries choose their kernels, weights are cast."""
MIN_PASSES: Final = 8
"""Forward passes from which on a capture pays off."""

WRAPPER_ATTRIBUTES: Final = ("_hf_hook", "_diffusers_hook", "_orig_mod")
"""Attributes of modules that accelerate, diffusers or torch.compile have wrapped."""


class CudaGraphRunner:
    """A diffusion model that replays a captured graph for shapes that it has seen often enough.

    The same kernels run, with the same results. The network's weights must not change while this object is in use. A
    graph holds the bare addresses of the weights that `cached_casts` made, so this object must not outlive that
    context; and it is for use under `torch.no_grad` only.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.stream: torch.cuda.Stream | None = None  # captures run on it; of the network's device
        self.seen: Counter[Hashable] = Counter()
        self.graphs: dict[Hashable, CapturedGraph] = {}

    def __call__(
        self,
        noisy: Tensor,
        degraded: Tensor,
        guidance: Tensor,
        noise_level: Tensor,
        scalars: Mapping[str, Tensor],
    ) -> Tensor:
        """The forward pass of `DiffusionModel`.

        Raises:
            DeviceError: the network does something that cannot be captured.
            torch.OutOfMemoryError: as the network does; the memory of all graphs is then free.
        """
        names = tuple(sorted(scalars))
        tensors = noisy, degraded, guidance, noise_level, *(scalars[name] for name in names)
        shape = names, autocast_dtype(noisy.device.type), *((t.shape, t.dtype) for t in tensors)
        self.seen[shape] += 1
        try:
            if shape not in self.graphs and self.seen[shape] > WARM_UP_PASSES:
                self._capture(shape, names, tensors)
            if shape in self.graphs:
                return self.graphs[shape](tensors)
            return self.network(noisy, degraded, guidance, noise_level, scalars)  # type: ignore[no-any-return]
        except torch.OutOfMemoryError:
            self.graphs.clear()
            raise

    def _capture(self, shape: Hashable, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        def run(*given: Tensor) -> Tensor:
            scalars = dict(zip(names, given[4:], strict=True))
            return self.network(*given[:4], scalars)  # type: ignore[no-any-return]

        shared = next(iter(self.graphs.values())).graph.pool() if self.graphs else None
        try:
            if self.stream is None:  # PyTorch's default is of the GPU of its first capture
                self.stream = torch.cuda.Stream(tensors[0].device)  # type: ignore[no-untyped-call]
            self.graphs[shape] = CapturedGraph(run, tensors, self.stream, shared)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # it synchronises, or does something else that cannot be captured
            raise DeviceError(
                f"{type(self.network).__name__}: it cannot be captured as a CUDA graph ({reason(error)}); set the "
                "engine's cuda_graphs to False."
            ) from error


class CapturedGraph:
    """A CUDA graph of a function of tensors that is warmed up, and runs the same kernels whatever their values are."""

    def __init__(
        self,
        run: Callable[..., Tensor],
        tensors: Sequence[Tensor],
        stream: torch.cuda.Stream,
        pool: Any = None,
    ) -> None:
        """Capture it for tensors like these; `pool` is the memory of graphs that never run at the same time."""
        self.inputs = [t.clone() for t in tensors]
        self.graph = torch.cuda.CUDAGraph()
        # other threads may go on using the GPU
        with torch.cuda.graph(self.graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self.output = run(*self.inputs)

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """The function of other tensors of the same shapes, as a new tensor."""
        for kept, given in zip(self.inputs, tensors, strict=True):
            kept.copy_(given)
        self.graph.replay()
        return self.output.clone()


def should_capture(network: Any, device: torch.device, forward_passes: int) -> bool:
    """Whether a capture pays off for so many passes, and a replay leaves out nothing.

    A replay leaves out hooks, moves to a device or dtype, and what torch.compile checks at each call.
    """
    if device.type != "cuda" or forward_passes < MIN_PASSES:
        return False
    return not any(
        m._forward_hooks
        or m._forward_pre_hooks
        or m._compiled_call_impl is not None
        or any(hasattr(m, name) for name in WRAPPER_ATTRIBUTES)
        for m in network.modules()
    )
