"""The Inception network of FID (Szegedy et al. 2015, as trained for TensorFlow in December 2015).

Its parameters bear the names of the published PyTorch file. It differs from later Inceptions in its average
pooling, which leaves the padding out, and in the maximum that the last block takes in its place.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ucdir.metrics.weights import Download, fill
from ucdir.pth_file import tensors_of

INCEPTION: Final = Download(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    ("pt_inception-2015-12-05-6726825d.pth",), "6726825d", "FID",
)  # fmt: skip
"""The network's weights, carried over from TensorFlow by the authors of pytorch-fid."""

SIDE: Final = 299
"""Side in pixels of the images that the network was made for."""
CLASSES: Final = 1008


class ConvNorm(nn.Module):
    """ReLU(BatchNorm(conv(x)))."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        stride: int,
        padding: tuple[int, int],
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C',H',W']."""
        return F.relu(self.bn(self.conv(x)))


class Layer(NamedTuple):
    """A convolution of a branch: its name in the file, output channels, kernel, stride, and whether it is padded."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True

    def build(self, in_channels: int) -> ConvNorm:
        """The layer for so many input channels."""
        padding = (self.kernel[0] // 2, self.kernel[1] // 2) if self.padded else (0, 0)
        return ConvNorm(in_channels, self.channels, self.kernel, self.stride, padding)


Step = Layer | tuple[Layer, Layer]
"""A layer, or two side by side whose outputs are joined."""
ROW, COLUMN, SMALL, LARGE = (1, 7), (7, 1), (3, 3), (5, 5)


class Mixed(nn.Module):
    """A block of branches whose outputs are joined; its last branch begins with a pooling."""

    def __init__(self, in_channels: int, branches: Sequence[Sequence[Step]], pooling: str) -> None:
        super().__init__()
        self.pooling = POOLINGS[pooling]
        self.branches = branches
        self.out_channels = 0
        for branch in branches:
            channels = in_channels
            for step in branch:
                together = _layers(step)
                for layer in together:
                    self.add_module(layer.name, layer.build(channels))
                channels = sum(layer.channels for layer in together)
            self.out_channels += channels

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C',H',W']."""
        joined = []
        for branch in self.branches:
            y = self.pooling(x) if branch is self.branches[-1] else x
            for step in branch:
                y = torch.cat([self.get_submodule(layer.name)(y) for layer in _layers(step)], dim=1)
            joined.append(y)
        return torch.cat(joined, dim=1)


def _layers(step: Step) -> tuple[Layer, ...]:
    return (step,) if isinstance(step, Layer) else step


POOLINGS = {
    "mean": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "maximum": nn.MaxPool2d(3, 1, 1),
    "half": nn.MaxPool2d(3, 2),
}


def _a(in_channels: int, pooled: int) -> Mixed:
    branches = [
        [Layer("branch1x1", 64)],
        [Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, LARGE)],
        [Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, SMALL), Layer("branch3x3dbl_3", 96, SMALL)],
        [Layer("branch_pool", pooled)],
    ]
    return Mixed(in_channels, branches, "mean")


def _b(in_channels: int) -> Mixed:
    branches: list[list[Step]] = [
        [Layer("branch3x3", 384, SMALL, 2, padded=False)],
        [Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, SMALL),
         Layer("branch3x3dbl_3", 96, SMALL, 2, padded=False)],
        [],
    ]  # fmt: skip
    return Mixed(in_channels, branches, "half")


def _c(in_channels: int, c7: int) -> Mixed:
    branches = [
        [Layer("branch1x1", 192)],
        [Layer("branch7x7_1", c7), Layer("branch7x7_2", c7, ROW), Layer("branch7x7_3", 192, COLUMN)],
        [Layer("branch7x7dbl_1", c7), Layer("branch7x7dbl_2", c7, COLUMN), Layer("branch7x7dbl_3", c7, ROW),
         Layer("branch7x7dbl_4", c7, COLUMN), Layer("branch7x7dbl_5", 192, ROW)],
        [Layer("branch_pool", 192)],
    ]  # fmt: skip
    return Mixed(in_channels, branches, "mean")


def _d(in_channels: int) -> Mixed:
    branches: list[list[Step]] = [
        [Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, SMALL, 2, padded=False)],
        [Layer("branch7x7x3_1", 192), Layer("branch7x7x3_2", 192, ROW), Layer("branch7x7x3_3", 192, COLUMN),
         Layer("branch7x7x3_4", 192, SMALL, 2, padded=False)],
        [],
    ]  # fmt: skip
    return Mixed(in_channels, branches, "half")


def _e(in_channels: int, pooling: str) -> Mixed:
    branches: list[list[Step]] = [
        [Layer("branch1x1", 320)],
        [Layer("branch3x3_1", 384),
         (Layer("branch3x3_2a", 384, (1, 3)), Layer("branch3x3_2b", 384, (3, 1)))],
        [Layer("branch3x3dbl_1", 448), Layer("branch3x3dbl_2", 384, SMALL),
         (Layer("branch3x3dbl_3a", 384, (1, 3)), Layer("branch3x3dbl_3b", 384, (3, 1)))],
        [Layer("branch_pool", 192)],
    ]  # fmt: skip
    return Mixed(in_channels, branches, pooling)


class Inception(nn.Module):
    """Features [n,2048] of patches: the mean over places of what the last block gives."""

    num_features: ClassVar[int] = 2048
    frechet_name: ClassVar[str] = "fid"
    kernel_name: ClassVar[str] = "kid"

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        """Load the weights.

        Args:
            weights: the file, or the folder that holds it; by default as `Download.locate` finds it.

        Raises:
            WeightsError: the file is missing or is another one.
        """
        super().__init__()
        self.network = build()
        file = INCEPTION.locate(weights)
        fill(self.network, tensors_of(file), file, "FID", INCEPTION.published_name)
        self.eval().requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """[n,3,H,W] in [-1,1] -> [n,2048]."""
        levels = patches.add(1).mul(127.5)
        x = (resized(levels, SIDE) - 128) / 128
        for name, layer in self.network.named_children():
            if name == "fc":
                break
            x = layer(x)
        return x.mean(dim=(2, 3))


def build() -> nn.Module:
    """The network with fresh weights; its children are its layers in their order, poolings included."""
    network = nn.Module()
    stem: list[tuple[str, nn.Module]] = [
        ("Conv2d_1a_3x3", ConvNorm(3, 32, (3, 3), 2, (0, 0))),
        ("Conv2d_2a_3x3", ConvNorm(32, 32, (3, 3), 1, (0, 0))),
        ("Conv2d_2b_3x3", ConvNorm(32, 64, (3, 3), 1, (1, 1))),
        ("maxpool1", nn.MaxPool2d(3, 2)),
        ("Conv2d_3b_1x1", ConvNorm(64, 80, (1, 1), 1, (0, 0))),
        ("Conv2d_4a_3x3", ConvNorm(80, 192, (3, 3), 1, (0, 0))),
        ("maxpool2", nn.MaxPool2d(3, 2)),
        ("Mixed_5b", _a(192, 32)),
        ("Mixed_5c", _a(256, 64)),
        ("Mixed_5d", _a(288, 64)),
        ("Mixed_6a", _b(288)),
        ("Mixed_6b", _c(768, 128)),
        ("Mixed_6c", _c(768, 160)),
        ("Mixed_6d", _c(768, 160)),
        ("Mixed_6e", _c(768, 192)),
        ("Mixed_7a", _d(768)),
        ("Mixed_7b", _e(1280, "mean")),
        ("Mixed_7c", _e(2048, "maximum")),
        ("fc", nn.Linear(2048, CLASSES)),
    ]
    for name, layer in stem:
        network.add_module(name, layer)
    return network


def resized(images: Tensor, side: int) -> Tensor:
    """Bilinear as TensorFlow 1 does it: output pixel i looks at i·(size/side), and half pixels are not minded."""
    for dim in (2, 3):
        size = images.shape[dim]
        place = torch.arange(side, device=images.device, dtype=torch.float32) * (size / side)
        low = place.floor().long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        shape = (-1, 1) if dim == 2 else (-1,)
        share = (place - low).view(shape).to(images.dtype)
        a, b = images.index_select(dim, low), images.index_select(dim, high)
        images = a + (b - a) * share
    return images
