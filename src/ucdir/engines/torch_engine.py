"""The engine of PyTorch: CPU, CUDA and MPS, in float32 or with convolutions in bf16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ucdir.engines.cuda_graphs import CudaGraphRunner, should_capture
from ucdir.engines.engine import Planes
from ucdir.model.akgm.cached_cast import cached_casts

_graphs: Final[ContextVar[CudaGraphRunner | None]] = ContextVar("graphs", default=None)
"""The CUDA graphs of the session around a call. Each thread has its own: they are for one call at a time."""


class TorchEngine:
    """An `Engine` of two networks that lie on its device.

    Attributes:
        precision: what convolutions and matrix products of networks in float32 are calculated in, float32 or bfloat16.
        cuda_graphs: whether a GPU repeats forward passes as CUDA graphs where there are enough of them.
    """

    def __init__(
        self,
        predictor: Any,  # an InitialPredictor or ReleasePredictor
        diffusion_model: Any,  # a DiffusionModel or ReleaseDiffusionModel
        device: torch.device | str = "cpu",
        precision: torch.dtype = torch.float32,
        *,
        cuda_graphs: bool = True,
    ) -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.cuda_graphs = cuda_graphs
        self.predictor = predictor
        self.diffusion_model = diffusion_model

    @property
    def receptive_field(self) -> int:
        """The larger of the two networks' receptive fields."""
        return int(max(self.predictor.receptive_field, self.diffusion_model.receptive_field))

    @property
    def multiple_of(self) -> int:
        """The common multiple of both networks' total strides."""
        return int(np.lcm(self.predictor.multiple_of, self.diffusion_model.multiple_of))

    @property
    def bytes_per_pixel(self) -> int:
        """On a CPU that of the larger network; a GPU has memory of its own, which is tried."""
        networks = (self.predictor, self.diffusion_model) if self.device.type == "cpu" else ()
        return max((int(network.bytes_per_pixel) for network in networks), default=0)

    @property
    def scalars(self) -> tuple[str, ...]:
        """The auxiliary scalars that f_θ can be given."""
        return tuple(self.diffusion_model.scalar_names)

    @property
    def prediction(self) -> str:
        """What f_θ gives, see `Engine.prediction`."""
        return str(self.diffusion_model.prediction)

    @contextmanager
    def session(self, forward_passes: int) -> Iterator[None]:
        """Weights are reduced to 16 bits and arranged for the kernels once, and enough passes become CUDA graphs."""
        capture = self.cuda_graphs and should_capture(self.diffusion_model, self.device, forward_passes)
        token = _graphs.set(CudaGraphRunner(self.diffusion_model) if capture else None)
        try:
            with torch.no_grad(), cached_casts(self.device.type):
                yield
        finally:
            _graphs.reset(token)

    def predict(self, degraded: Planes) -> Planes:
        """See `Engine.predict`."""
        return self._run(self.predictor, self.predictor, (degraded,))

    def denoise(
        self,
        noisy: Planes,
        degraded: Planes,
        guidance: Planes,
        *,
        level: float,
        scalars: Mapping[str, NDArray[np.float32]],
    ) -> Planes:
        """See `Engine.denoise`."""
        levels = torch.full((len(noisy),), level, device=self.device)
        given = {name: torch.tensor(values, device=self.device) for name, values in scalars.items()}
        forward = _graphs.get() or self.diffusion_model
        return self._run(self.diffusion_model, forward, (noisy, degraded, guidance), levels, given)

    def _run(
        self, network: nn.Module, forward: Callable[..., Tensor], images: tuple[Planes, ...], *conditions: Any
    ) -> Planes:
        dtype = next(network.parameters()).dtype
        reduced = self.precision != torch.float32
        try:
            with (
                torch.no_grad(),
                torch.autocast(self.device.type, self.precision if reduced else None, enabled=reduced),
            ):
                tensors = (_tensor(image).to(self.device, dtype) for image in images)
                return forward(*tensors, *conditions).float().cpu().numpy()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            message = str(error).splitlines()[0]
        # outside of `except`, or the traceback would hold the failed pass's tensors
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        raise MemoryError(message)


def _tensor(image: Planes) -> Tensor:
    """The array as a tensor on the CPU, without a copy where PyTorch allows it."""
    fits = image.flags.writeable and min(image.strides) >= 0
    return torch.from_numpy(image if fits else image.copy())


def _is_out_of_memory(error: RuntimeError) -> bool:
    # PyTorch's allocators of CPUs and of MPS raise a plain RuntimeError, and so do oneDNN, C++ and cuBLAS
    words = (
        "can't allocate memory", "not enough memory", "out of memory",
        "could not create a primitive", "could not execute a primitive", "bad_alloc", "STATUS_ALLOC_FAILED",
    )  # fmt: skip
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
