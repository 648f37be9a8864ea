"""LPIPS: the perceptual distance of two images, learned from human judgements (Zhang et al. 2018)."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from ucdir.errors import WeightsError
from ucdir.metrics.pair import checked_pair
from ucdir.metrics.weights import Download, fill
from ucdir.pth_file import tensors_of

ALEXNET: Final = Download(
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    ("alexnet_features.pth", "alexnet-owt-7be5be79.pth"), "7be5be79", "LPIPS",
)  # fmt: skip
"""AlexNet as torchvision publishes it; a file of its features alone does as well."""

MIN_SIDE: Final = 31
"""Smallest side in pixels that leaves one value after AlexNet's last pooling."""

CHANNELS: Final = (64, 192, 384, 256, 256)
_HEADS_IN_TORCHMETRICS: Final = Path("functional", "image", "lpips_models", "alex.pth")
HEADS_IN_FOLDER: Final = Path("lpips_lin_v0.1", "alex.pth")


class AlexNetTrunk(nn.Module):
    """AlexNet's five convolutions (Krizhevsky 2014), with the parameter names of torchvision's file."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        # ImageNet's mean and standard deviation, moved from 0..1 to [-1,1]
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188]).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor([0.458, 0.448, 0.450]).view(shape), persistent=False)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, image: Tensor) -> Iterator[Tensor]:
        """Image [B,3,H,W] in [-1,1] -> the output of each ReLU in turn, [B,C,h,w], C = 64, 192, 384, 256, 256."""
        image = (image.to(self.mean.dtype) - self.mean) / self.std
        for layer in self.features:
            image = layer(image)
            if isinstance(layer, nn.ReLU):
                yield image


def load_trunk(file: Path) -> AlexNetTrunk:
    """The trunk with the weights of torchvision's file.

    Raises:
        WeightsError: it is another file.
    """
    trunk = AlexNetTrunk()
    features = {k: v for k, v in tensors_of(file).items() if k.startswith("features.")}
    fill(trunk, features, file, "LPIPS", ALEXNET.published_name)
    return trunk


class Lpips(nn.Module):
    """LPIPS version 0.1 with AlexNet:

        d = Σ_l mean_{h,w} Σ_c w_lc (f̂_l(restored) - f̂_l(clean))²,   f̂ = f / (‖f‖ over channels + 1e-10)

    where `f_l` is AlexNet's l-th ReLU of the image standardised by ImageNet's mean and standard deviation, and
    `w_l >= 0` is the learned head of that layer. The weights are frozen; gradients reach the images.

    Args:
        trunk: AlexNet's file, or the folder that holds it; by default the folder named by UCDIR_WEIGHTS.

    Raises:
        WeightsError: a weights file is missing, damaged, or of another network.
    """

    def __init__(self, trunk: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        file = ALEXNET.locate(trunk)
        self.trunk = load_trunk(file)
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels in CHANNELS)
        file = heads_file(file.parent)
        heads = {k.removeprefix("lin").replace(".model.1.", "."): v for k, v in tensors_of(file).items()}
        fill(self.heads, heads, file, "LPIPS", "that of version 0.1")
        self.eval().requires_grad_(False)

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        """The distance of each pair.

        Works image by image and layer by layer in float32, so that a batch of large images needs the memory of one.

        Args:
            restored: [B,3,H,W] in [-1,1], at least 31 pixels a side.
            clean: [B,3,H,W] in [-1,1].

        Returns:
            [B], at least 0, lower is better; 0 where both are equal.

        Raises:
            DataError: the images cannot be compared.
        """
        restored, clean = checked_pair("LPIPS", restored, clean, MIN_SIDE)
        pairs = zip(torch.split(restored, 1), torch.split(clean, 1), strict=True)
        # half precision changes the third digit, so a surrounding autocast is switched off
        with torch.autocast(clean.device.type, enabled=False):
            return torch.cat([self._distances(*pair) for pair in pairs])

    def batched(self, restored: Tensor, clean: Tensor) -> Tensor:
        """As `forward`, with the whole batch in one forward pass: for the small crops of training."""
        restored, clean = checked_pair("LPIPS", restored, clean, MIN_SIDE)
        with torch.autocast(clean.device.type, enabled=False):
            return self._distances(restored, clean)

    def features(self, images: Tensor) -> list[Tensor]:
        """Images [B,3,H,W] in [-1,1] -> √w_l · f̂_l of each layer, [B,C,h,w] in float32.

        The squared distance of two images' features over channels, meaned over places and summed over layers, is d.
        """
        found = []
        with torch.autocast(images.device.type, enabled=False):
            for head, feature in zip(self.heads.parameters(), self.trunk(images.float()), strict=True):
                unit = feature / (torch.linalg.vector_norm(feature, dim=1, keepdim=True) + 1e-10)
                found.append(unit * head.clamp(min=0).sqrt())
        return found

    def _distances(self, restored: Tensor, clean: Tensor) -> Tensor:
        both = torch.cat([restored, clean])
        distances = self.trunk.mean.new_zeros(len(clean))
        for head, feature in zip(self.heads, self.trunk(both), strict=True):
            # vector_norm and not sqrt(sum): its gradient where no channel responds is 0 and not NaN
            unit = feature / (torch.linalg.vector_norm(feature, dim=1, keepdim=True) + 1e-10)
            a, b = unit.chunk(2)
            distances = distances + head((a - b).square()).mean(dim=(1, 2, 3))
        return distances


def heads_file(folder: Path) -> Path:
    """The heads that torchmetrics carries (found without importing it), else those in the weights folder."""
    package = importlib.util.find_spec("torchmetrics")
    places = (
        [Path(place) / _HEADS_IN_TORCHMETRICS for place in package.submodule_search_locations or ()]
        if package
        else []
    )
    for place in [*places, folder / HEADS_IN_FOLDER]:
        if place.is_file():
            return place
    raise WeightsError(
        "LPIPS needs the heads that come with the package torchmetrics, which is not installed; "
        "run: pip install 'ucdir[metrics]'"
    )
