"""Published files of PyTorch tensors (.pth), read without running code from them."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from ucdir.errors import WeightsError
from ucdir.limits import MAX_CHECKPOINT_BYTES


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The named tensors of a .pth file, on the CPU. Only tensors are unpickled, never code.

    Raises:
        WeightsError: it is not such a file, or too large.
    """
    try:
        size_bytes = file.stat().st_size
        if size_bytes > MAX_CHECKPOINT_BYTES:
            raise WeightsError(
                f"{file}: {size_bytes} bytes is more than the limit of {MAX_CHECKPOINT_BYTES}."
            )
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{file}: there is no such file; check the name.") from None
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        pickle.UnpicklingError,
        SafetensorError,  # of a file that torch.load takes for one of safetensors
    ) as error:
        raise WeightsError(f"{file}: cannot be read as PyTorch weights; download it again.") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{file}: contains no named tensors, so it is not a file of weights.")
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(
                f"{file}: {name:.80} is larger than what the file holds of it; download it again."
            )
    return state
