"""Evaluations of a network as CUDA graphs: what a GPU has done once it repeats without being told each kernel anew.

A network is hundreds of kernels, and for one small image launching them takes several times as long as running them.
Drawing a residual evaluates the same network in the same shapes step after step, so from the third evaluation of a
shape on the launches are recorded, and repeated as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from ucdir.errors import DeviceError, reason
from ucdir.model.akgm.cached_cast import autocast_dtype

USUAL: Final = 2
"""Evaluations of each shape that run as usual, in which libraries choose their kernels and weights are reduced."""
WORTH: Final = 8
"""Evaluations from which on recording wins back what it takes."""

WRAPPED: Final = ("_hf_hook", "_diffusers_hook", "_orig_mod")
"""What modules have that accelerate, diffusers or torch.compile have wrapped."""


class CudaGraphRunner:
    """A diffusion model whose evaluations are repeated from a recording where their shapes have been seen before.

    The same kernels run, and give the same. Its weights must not change while this lives, and of those that
    `kernels.cached_casts` makes it has only the addresses: it must not outlive that context, nor be used beyond
    `torch.no_grad`.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.stream: torch.cuda.Stream | None = None  # that recordings are made on, of the network's device
        self.seen: Counter[Hashable] = Counter()
        self.recordings: dict[Hashable, Recording] = {}

    def __call__(
        self,
        noisy: Tensor,
        degraded: Tensor,
        guidance: Tensor,
        noise_level: Tensor,
        scalars: Mapping[str, Tensor],
    ) -> Tensor:
        """See `DiffusionModel.forward`.

        Raises:
            DeviceError: the network does something that cannot be recorded.
            torch.OutOfMemoryError: as the network does; what the recordings held is free then.
        """
        names = tuple(sorted(scalars))
        tensors = noisy, degraded, guidance, noise_level, *(scalars[name] for name in names)
        shape = names, autocast_dtype(noisy.device.type), *((t.shape, t.dtype) for t in tensors)
        self.seen[shape] += 1
        try:
            if shape not in self.recordings and self.seen[shape] > USUAL:
                self._record(shape, names, tensors)
            if shape in self.recordings:
                return self.recordings[shape](tensors)
            return self.network(noisy, degraded, guidance, noise_level, scalars)  # type: ignore[no-any-return]
        except torch.OutOfMemoryError:
            self.recordings.clear()
            raise

    def _record(self, shape: Hashable, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        def run(*given: Tensor) -> Tensor:
            scalars = dict(zip(names, given[4:], strict=True))
            return self.network(*given[:4], scalars)  # type: ignore[no-any-return]

        shared = next(iter(self.recordings.values())).graph.pool() if self.recordings else None
        try:
            if self.stream is None:  # PyTorch's own for this is of the GPU that was recorded on first
                self.stream = torch.cuda.Stream(tensors[0].device)  # type: ignore[no-untyped-call]
            self.recordings[shape] = Recording(run, tensors, self.stream, shared)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # it waits for the GPU, or does something else that cannot be recorded
            raise DeviceError(
                f"{type(self.network).__name__}: it cannot be recorded as a CUDA graph ({reason(error)}); set the "
                "pipeline's cuda_graphs to False."
            ) from error


class Recording:
    """A CUDA graph of a function of tensors that has run before, and does the same whatever their values are."""

    def __init__(
        self,
        run: Callable[..., Tensor],
        tensors: Sequence[Tensor],
        stream: torch.cuda.Stream,
        pool: Any = None,
    ) -> None:
        """Record it for tensors like these; `pool` is the memory of others that never run at the same time."""
        self.inputs = [t.clone() for t in tensors]
        self.graph = torch.cuda.CUDAGraph()
        # other threads may go on using the GPU
        with torch.cuda.graph(self.graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self.output = run(*self.inputs)

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """The function of other tensors of the same shapes: a new tensor."""
        for kept, given in zip(self.inputs, tensors, strict=True):
            kept.copy_(given)
        self.graph.replay()
        return self.output.clone()


def should_capture(network: Any, device: torch.device, evaluations: int) -> bool:
    """Whether so many evaluations of each shape win by recordings, and nothing is lost that a recording leaves out.

    That is what hooks do, and moving to a device or type, and what torch.compile checks at each call.
    """
    if device.type != "cuda" or evaluations < WORTH:
        return False
    return not any(
        m._forward_hooks
        or m._forward_pre_hooks
        or m._compiled_call_impl is not None
        or any(hasattr(m, name) for name in WRAPPED)
        for m in network.modules()
    )
