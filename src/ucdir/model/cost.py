"""Cost of a network: parameters, and multiply-accumulates as PyTorch counts them on the device "meta"."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ucdir.config import ModelConfig
from ucdir.model.framework import build
from ucdir.model.predictor import InitialPredictor


def macs(network: nn.Module, side: int) -> float:
    """Multiply-accumulates of one forward pass on a square image.

    Only convolutions and matrix products are counted, as in the paper; norms, gates and the sum over kernel bases
    (N·C per pixel) are not.

    Args:
        network: an initial predictor or a diffusion model, on the device "meta".
        side: height and width in pixels, a multiple of `network.multiple_of`.
    """
    image = torch.empty(1, 3, side, side, device="meta")
    one = torch.empty(1, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if isinstance(network, InitialPredictor):
            network(image)
        else:
            network(image, image, image, one, {})
    return float(counter.get_total_flops()) / 2


def parameters(network: nn.Module) -> int:
    """Number of learned parameters."""
    return sum(p.numel() for p in network.parameters())


def denoiser_cost(config: ModelConfig, side: int = 256) -> tuple[float, int]:
    """Multiply-accumulates of one forward pass of f_θ, and its number of parameters."""
    with torch.device("meta"):
        _, diffusion_model = build(config)
    return macs(diffusion_model, side), parameters(diffusion_model)
