"""What a caller may hand to the pipeline as images and seeds, as tensors; and results in the form asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ucdir.errors import ConfigError

OUTPUT_TYPES = ("pil", "np", "pt")


def to_tensor(image: Any) -> Tensor:
    """PIL images, arrays or tensors -> float32 [B,3,H,W] in [-1,1] on the CPU.

    Args:
        image: PIL image of 8 bits a sample; array uint8 in 0..255 or floating in [0,1], [H,W,3] or [B,H,W,3]; tensor
            floating in [-1,1], [3,H,W] or [B,3,H,W]; or a list of one of these, all of one size.

    Raises:
        ConfigError: it is none of these, its values are of another range, or the sizes differ.
    """
    if isinstance(image, (list, tuple)):
        if not image:
            raise ConfigError("image: the list is empty; give at least one image.")
        tensors = [to_tensor(one) for one in image]
        sizes = {tuple(t.shape[1:]) for t in tensors}
        if len(sizes) > 1:
            raise ConfigError(
                f"image: a batch holds images of one size, found {sorted(s[1:] for s in sizes)} (height, width); "
                "restore them one by one."
            )
        return torch.cat(tensors)
    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):  # converting them cuts off what is above 255
            raise ConfigError(
                f"image: a PIL image has 8 bits a sample, found mode {image.mode!r}; give an array in [0,1]."
            )
        image = np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    if not isinstance(image, Tensor):
        raise ConfigError(f"image: expected PIL images, arrays or tensors, found {type(image).__name__}.")
    if not image.is_floating_point():
        raise ConfigError(f"image: a tensor is floating point in [-1,1], found {image.dtype}.")
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[1] != 3 or image.numel() == 0:
        raise ConfigError(f"image: expected RGB of at least one pixel, found shape {list(image.shape)}.")
    tensor: Tensor = image.detach().to("cpu", torch.float32)
    low, high = (float(value) for value in tensor.aminmax())
    if not -2 <= low <= high <= 2:  # a little beyond [-1,1] is what resizing leaves; NaN is no number between
        raise ConfigError(
            f"image: values from {low:g} to {high:g} where [-1,1] is expected; a floating-point array is in [0,1], "
            "a tensor in [-1,1]."
        )
    return tensor


def _from_array(array: np.ndarray[Any, Any]) -> Tensor:
    if array.ndim not in (3, 4) or array.shape[-1] != 3:
        raise ConfigError(f"image: an array is [H,W,3] or [B,H,W,3], found {list(array.shape)}.")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise ConfigError(f"image: an array is uint8 or floating point in [0,1], found {array.dtype}.")
    planes = torch.from_numpy(np.array(np.moveaxis(array, -1, -3), dtype=np.float32, order="C"))
    return planes.div_(127.5 if array.dtype == np.uint8 else 0.5).sub_(1)


def from_tensor(images: Tensor, output_type: str) -> Any:
    """float32 [B,3,H,W] in [-1,1] -> a list of PIL images, an array [B,H,W,3] in [0,1], or the tensor itself."""
    if output_type == "pt":
        return images
    if output_type == "np":
        return images.permute(0, 2, 3, 1).add(1).div_(2).numpy()
    if output_type == "pil":
        pixels = images.permute(0, 2, 3, 1).add(1).mul_(127.5).round_().to(torch.uint8).numpy()
        return [Image.fromarray(one) for one in pixels]
    raise ConfigError(f"output_type {output_type!r} is unknown; choose one of {', '.join(OUTPUT_TYPES)}.")


def sample_seeds(
    generator: torch.Generator | Sequence[torch.Generator] | None, seed: int, batch: int
) -> list[int]:
    """The seed of each image: drawn from its generator, or `seed` for all.

    One generator gives the images of a batch different seeds; `seed` gives each the noise that it has alone.
    """
    if generator is None:
        if not is_whole(seed) or not 0 <= seed < 2**63:
            raise ConfigError(f"seed {seed!r} is not a whole number from 0 to 2^63 - 1.")
        return [int(seed)] * batch
    if isinstance(generator, torch.Generator):
        return [_draw(generator) for _ in range(batch)]
    if len(generator) != batch:
        raise ConfigError(
            f"generator: found {len(generator)} generators for {batch} images; give one for each."
        )
    return [_draw(g) for g in generator]


def is_whole(number: object) -> bool:
    """Whether it is an integer of Python or numpy, and no truth value."""
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def _draw(generator: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
