"""The engine of PyTorch: CPU, CUDA and MPS, in float32 or with convolutions in bf16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ucdir.engines.cuda_graphs import CudaGraphRunner, should_capture
from ucdir.engines.devices import has_bf16
from ucdir.engines.engine import Planes
from ucdir.model.akgm.cached_cast import cached_casts

_graphs: Final[ContextVar[CudaGraphRunner | None]] = ContextVar("graphs", default=None)
"""The CUDA graphs of the session around a call. Each thread has its own: they are for one call at a time."""

IMITATED: Final = 1.75
"""What bf16 takes of the memory of float32 where a processor only imitates it: there are copies in both."""


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
        if self.device.type != "cpu":
            return 0
        most = max(int(network.bytes_per_pixel) for network in (self.predictor, self.diffusion_model))
        imitated = self.precision != torch.float32 and not has_bf16(self.device)
        return int(most * IMITATED) if imitated else most

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
        self,
        network: nn.Module,
        forward: Callable[..., Tensor],
        images: tuple[Planes, ...],
        *conditions: Tensor | Mapping[str, Tensor],
    ) -> Planes:
        dtype = next(network.parameters()).dtype
        reduced = self.precision != torch.float32
        alike = not reduced and self.device.type == "cpu" and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        if alike and len(images[0]) > 1:
            parts = [slice(n, n + 1) for n in range(len(images[0]))]
            return np.concatenate(
                [
                    self._run(
                        network,
                        forward,
                        tuple(image[p] for image in images),
                        *(_part(c, p) for c in conditions),
                    )
                    for p in parts
                ]
            )
        try:
            with (
                torch.no_grad(),
                _RoundedAlike() if alike else nullcontext(),
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


class _RoundedAlike(TorchFunctionMode):
    """Inside, a pixel's result in float32 on a CPU is the same to the bit in images of any size and by any threads.

    Of one image: batches are taken apart before. By itself PyTorch takes oneDNN's convolutions only for maps of more
    than 20,480 numbers, or of 1x1 for several threads, and its own for others, which round differently. So do
    exponentials at the end of each thread's share.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of PyTorch, or what stands for it."""
        alike = _ALIKE.get(func)
        if alike is not None and args and args[0].dtype == torch.float32:
            func = alike
        return func(*args, **(kwargs or {}))


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """`torch.conv2d` by oneDNN."""
    last = torch.channels_last
    pairs = ([n, n] if isinstance(n, int) else [*n] for n in (padding, stride, dilation))
    result: Tensor = torch.ops.aten.mkldnn_convolution(
        x.contiguous(memory_format=last), weight.contiguous(memory_format=last), bias, *pairs, groups
    )
    return result


_SHARE: Final = 32_768
"""Numbers from which on PyTorch gives another thread a share."""
_VECTORS: Final = 64
"""A multiple of the numbers that are computed at once."""


def _swish(x: Tensor, inplace: bool = False) -> Tensor:
    """`F.silu` in which all threads have whole vectors; what is left is computed after that."""
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    given = x.permute(0, 2, 3, 1) if last else x
    flat = given.reshape(-1)
    result, whole = torch.empty_like(flat), len(flat)
    while left := whole % (_VECTORS * max(1, min(torch.get_num_threads(), -(-whole // _SHARE)))):
        whole -= left
    for part in (slice(0, whole), slice(whole, None)):
        torch.ops.aten.silu.out(flat[part], out=result[part])
    result = result.view(given.shape)
    result = result.permute(0, 3, 1, 2) if last else result
    return x.copy_(result) if inplace else result


_ALIKE: Final[Mapping[Callable[..., Any], Callable[..., Tensor]]] = {
    torch.conv2d: _convolution, F.silu: _swish
}  # fmt: skip
"""What stands for functions of PyTorch."""


def _part(condition: Tensor | Mapping[str, Tensor], part: slice) -> Tensor | dict[str, Tensor]:
    """Of some images of a batch."""
    if isinstance(condition, Tensor):
        return condition[part]
    return {name: values[part] for name, values in condition.items()}


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
