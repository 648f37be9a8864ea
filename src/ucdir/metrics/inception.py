"""The Inception network of FID (Szegedy et al. 2015, as trained for TensorFlow in December 2015).

**Its FID is unchecked**: the published weights were not at hand, so no value has been compared with another program's.
With random weights the features equal those of torch-fidelity 0.4 to 1e-6. The libraries that carry this network
(torch-fidelity, pytorch-fid) need torchvision, which this package does without.

The parameters have the names of the published PyTorch file. The network differs from later Inceptions in its average
pooling, which leaves the padding out, and in its last block, which takes the maximum instead.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ucdir.metrics.weights import Download, fill
from ucdir.pth_file import tensors_of

INCEPTION: Final = Download(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    ("pt_inception-2015-12-05-6726825d.pth",), "6726825d", "FID",
)  # fmt: skip
"""The weights, converted from TensorFlow by the authors of pytorch-fid."""
SIDE: Final = 299
"""Side in pixels of the network's input."""
CLASSES: Final = 1008


class ConvNorm(nn.Module):
    """ReLU(BatchNorm(conv(x)))."""

    def __init__(
        self, in_channels: int, channels: int, kernel: tuple[int, int], stride: int, *, pad: bool
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if pad else 0
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C',H',W']."""
        return F.relu(self.bn(self.conv(x)))


class Layer(NamedTuple):
    """A convolution of a branch; it is padded unless it has a stride."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


Branch = Sequence[Layer | tuple[Layer, Layer]]
"""Layers in order; two in a tuple run side by side and are concatenated."""


class Mixed(nn.Module):
    """Branches whose outputs are concatenated; the last one begins with a pooling."""

    def __init__(self, in_channels: int, pooling: nn.Module, *branches: Branch) -> None:
        super().__init__()
        self.pooling = pooling
        self.branches = [[(step,) if isinstance(step, Layer) else step for step in b] for b in branches]
        for branch in self.branches:
            channels = in_channels
            for step in branch:
                for layer in step:
                    self.add_module(layer.name, ConvNorm(channels, *layer[1:], pad=layer.stride == 1))
                channels = sum(layer.channels for layer in step)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C',H',W']."""
        outputs = [x] * (len(self.branches) - 1) + [self.pooling(x)]
        for i, branch in enumerate(self.branches):
            for step in branch:
                outputs[i] = torch.cat([self.get_submodule(one.name)(outputs[i]) for one in step], dim=1)
        return torch.cat(outputs, dim=1)


MEAN, MAXIMUM = nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.MaxPool2d(3, 1, 1)
HALF = nn.MaxPool2d(3, 2)
ROW, COLUMN, SMALL, LARGE = (1, 7), (7, 1), (3, 3), (5, 5)


def _a(in_channels: int, pooled: int) -> Mixed:
    return Mixed(
        in_channels, MEAN,
        [Layer("branch1x1", 64)],
        [Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, LARGE)],
        [Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, SMALL), Layer("branch3x3dbl_3", 96, SMALL)],
        [Layer("branch_pool", pooled)],
    )  # fmt: skip


def _c(c7: int) -> Mixed:
    return Mixed(
        768, MEAN,
        [Layer("branch1x1", 192)],
        [Layer("branch7x7_1", c7), Layer("branch7x7_2", c7, ROW), Layer("branch7x7_3", 192, COLUMN)],
        [Layer("branch7x7dbl_1", c7), Layer("branch7x7dbl_2", c7, COLUMN), Layer("branch7x7dbl_3", c7, ROW),
         Layer("branch7x7dbl_4", c7, COLUMN), Layer("branch7x7dbl_5", 192, ROW)],
        [Layer("branch_pool", 192)],
    )  # fmt: skip


def _e(in_channels: int, pooling: nn.Module) -> Mixed:
    return Mixed(
        in_channels, pooling,
        [Layer("branch1x1", 320)],
        [Layer("branch3x3_1", 384),
         (Layer("branch3x3_2a", 384, (1, 3)), Layer("branch3x3_2b", 384, (3, 1)))],
        [Layer("branch3x3dbl_1", 448), Layer("branch3x3dbl_2", 384, SMALL),
         (Layer("branch3x3dbl_3a", 384, (1, 3)), Layer("branch3x3dbl_3b", 384, (3, 1)))],
        [Layer("branch_pool", 192)],
    )  # fmt: skip


def build() -> nn.Sequential:
    """The network up to its last block, and its classifier `fc`, with random weights."""
    layers = {
        "Conv2d_1a_3x3": ConvNorm(3, 32, SMALL, 2, pad=False),
        "Conv2d_2a_3x3": ConvNorm(32, 32, SMALL, 1, pad=False),
        "Conv2d_2b_3x3": ConvNorm(32, 64, SMALL, 1, pad=True),
        "maxpool1": HALF,
        "Conv2d_3b_1x1": ConvNorm(64, 80, (1, 1), 1, pad=False),
        "Conv2d_4a_3x3": ConvNorm(80, 192, SMALL, 1, pad=False),
        "maxpool2": HALF,
        "Mixed_5b": _a(192, 32),
        "Mixed_5c": _a(256, 64),
        "Mixed_5d": _a(288, 64),
        "Mixed_6a": Mixed(
            288, HALF,
            [Layer("branch3x3", 384, SMALL, 2)],
            [Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, SMALL), Layer("branch3x3dbl_3", 96, SMALL, 2)],
            [],
        ),
        "Mixed_6b": _c(128),
        "Mixed_6c": _c(160),
        "Mixed_6d": _c(160),
        "Mixed_6e": _c(192),
        "Mixed_7a": Mixed(
            768, HALF,
            [Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, SMALL, 2)],
            [Layer("branch7x7x3_1", 192), Layer("branch7x7x3_2", 192, ROW), Layer("branch7x7x3_3", 192, COLUMN),
             Layer("branch7x7x3_4", 192, SMALL, 2)],
            [],
        ),
        "Mixed_7b": _e(1280, MEAN),
        "Mixed_7c": _e(2048, MAXIMUM),
        "fc": nn.Linear(2048, CLASSES),
    }  # fmt: skip
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return network


class Inception(nn.Module):
    """Features [n,2048] of patches: the mean over places of the last block's output.

    Args:
        weights: the file, or the folder that holds it; by default as `Download.locate` finds it.

    Raises:
        WeightsError: the file is missing or is another one.
    """

    num_features: int = 2048

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        network = build()
        file = INCEPTION.locate(weights)
        fill(network, tensors_of(file), file, "FID", INCEPTION.published_name)
        self.network = network[:-1]  # without the classifier
        self.eval().requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """[n,3,H,W] in [-1,1] -> [n,2048]."""
        levels = patches.add(1).mul(127.5)
        features: Tensor = self.network((resized(levels, SIDE) - 128) / 128)
        return features.mean(dim=(2, 3))


def resized(images: Tensor, side: int) -> Tensor:
    """Bilinear resizing as in TensorFlow 1: output pixel i samples the input at i·(size/side), not at pixel centres."""
    for dim in (2, 3):
        size = images.shape[dim]
        place = torch.arange(side, device=images.device, dtype=torch.float32) * (size / side)
        low = place.floor().long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        share = (place - low).view((-1, 1) if dim == 2 else (-1,)).to(images.dtype)
        a, b = images.index_select(dim, low), images.index_select(dim, high)
        images = a + (b - a) * share
    return images
