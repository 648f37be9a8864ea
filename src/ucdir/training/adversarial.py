"""A discriminator on frozen features, which sees what no distance of one sample to one truth does."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ucdir.config import Config
from ucdir.metrics.lpips import CHANNELS, Lpips

MAX_SHIFT = 8
"""Largest shift in pixels of what the discriminator sees."""
CUTOUT = 0.5
"""Side of the square that is cut out of it, as a share of the image's."""
SLOPE = 0.2
"""Of LeakyReLU below 0."""


# ---------------------------------------------------------------------------------------------------- frozen features


class Features(Protocol):
    """A frozen network that a discriminator looks through."""

    def __call__(self, images: Tensor, predictor: nn.Module) -> list[Tensor]:
        """Images [B,3,H,W] in [-1,1] -> features [B,C,h,w] of each level; gradients reach the images."""


class PredictorFeatures:
    """The encoder of the initial predictor u_φ, frozen: free weights, and no judge of a metric."""

    def __init__(self, config: Config, device: torch.device) -> None:
        pass

    @staticmethod
    def channels(config: Config) -> list[int]:
        """Channels of each level."""
        predictor = config.model.predictor
        return [predictor.channels * m for m in predictor.multipliers]

    def __call__(self, images: Tensor, predictor: Any) -> list[Tensor]:
        """As `Features.__call__`."""
        found: list[Tensor] = predictor.unet.encode(images, [()] * predictor.unet.levels)
        return found


class AlexNetFeatures:
    """AlexNet's layers as LPIPS compares them: then LPIPS judges what its own network has trained."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.lpips = Lpips().to(device)

    @staticmethod
    def channels(config: Config) -> list[int]:
        """Channels of each level."""
        return list(CHANNELS)

    def __call__(self, images: Tensor, predictor: nn.Module) -> list[Tensor]:
        """As `Features.__call__`."""
        return self.lpips.features(images)


FEATURES: dict[str, type[Any]] = {"predictor": PredictorFeatures, "alexnet": AlexNetFeatures}
"""What a discriminator looks through, by name: `training.adversarial_features`."""


# ------------------------------------------------------------------------------------------------------ discriminator


class Discriminator(nn.Module):
    """Two convolutions on each level of features of an image and of the guidance, then one number for each place.

    The spectral norm of each weight is 1 (Miyato et al. 2018), computed exactly, so that there is no state beside the
    weights, which are saved in the checkpoint with the networks'.
    """

    def __init__(self, channels: list[int], width: int = 64) -> None:
        super().__init__()
        self.head = nn.ModuleList(  # by this name Muon leaves it to AdamW
            nn.ModuleList(
                [nn.Conv2d(2 * c, width, 1), nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 1, 1)]
            )
            for c in channels
        )

    def forward(self, features: list[Tensor], conditions: list[Tensor]) -> list[Tensor]:
        """Features of an image and of the guidance, [B,C,h,w] a level -> [B,1,h,w] a level, positive if real."""
        found = []
        for layers, *pair in zip(self.head, features, conditions, strict=True):
            x = torch.cat([f / f.square().mean(dim=1, keepdim=True).add(1e-6).sqrt() for f in pair], dim=1)
            convolutions: Any = layers
            for number, convolution in enumerate(convolutions):
                x = F.leaky_relu(x, SLOPE) if number else x
                weight = convolution.weight
                norm = torch.linalg.matrix_norm(weight.float().flatten(1), ord=2)
                x = F.conv2d(
                    x, (weight / norm).to(x.dtype), convolution.bias.to(x.dtype), padding=convolution.padding
                )
            found.append(x.float())
        return found


class AdversarialTerm:
    """The hinge loss of a discriminator and of what it judges, of one batch.

        adversarial    -w · mean D(ŷ, u_φ(x)): what ŷ minimises; D's weights are constants there
        discriminator  mean max(0, 1 - D(y, u_φ(x))) + mean max(0, 1 + D(ŷ, u_φ(x))): what D minimises; ŷ is a constant

    Both sides are seen through the same random shift, flip and cutout, a function of seed and step. One optimizer
    trains all.
    """

    def __init__(self, config: Config, discriminator: Discriminator, device: torch.device) -> None:
        self.weight = config.training.adversarial_weight
        self.seed = config.seed
        self.discriminator = discriminator
        self.features: Features = FEATURES[config.training.adversarial_features](config, device)

    def __call__(
        self, restored: Tensor, clean: Tensor, guidance: Tensor, predictor: nn.Module, step: int
    ) -> dict[str, Tensor]:
        """Losses by name, scalar tensors; images [B,3,H,W] in [-1,1]."""
        view = partial(augmented, rng=(self.seed, step, 0, 3))
        with torch.no_grad():
            conditions = self.features(view(guidance), predictor)
            real = self.features(view(clean), predictor)
        fake = self.features(view(restored), predictor)
        constant = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        judged = torch.func.functional_call(self.discriminator, constant, (fake, conditions))
        real_score = self.discriminator(real, conditions)
        fake_score = self.discriminator([f.detach() for f in fake], conditions)
        hinge = mean(F.relu(1 - s).mean() for s in real_score) + mean(
            F.relu(1 + s).mean() for s in fake_score
        )
        return {"adversarial": -self.weight * mean(s.mean() for s in judged), "discriminator": hinge}


def mean(values: Any) -> Tensor:
    """Mean of scalar tensors."""
    return torch.stack(list(values)).mean()


def augmented(images: Tensor, rng: tuple[int, ...]) -> Tensor:
    """Images [B,3,H,W] shifted, mirrored or not, and with a square cut out (Zhao et al. 2020), all of a batch alike."""
    draw = np.random.default_rng(rng)
    height, width = images.shape[-2:]
    dy, dx, top, left = (int(n) for n in draw.integers((2 * MAX_SHIFT + 1, 2 * MAX_SHIFT + 1, height, width)))
    images = torch.roll(images, (dy - MAX_SHIFT, dx - MAX_SHIFT), (-2, -1))
    images = images.flip(-1) if draw.random() < 0.5 else images
    side = int(CUTOUT * min(height, width))
    kept = torch.ones_like(images[:1, :1])
    kept[..., max(0, top - side // 2) : top + side // 2, max(0, left - side // 2) : left + side // 2] = 0
    return images * kept


def new_discriminator(config: Config) -> Discriminator | None:
    """The discriminator of a configuration, None if it has no weight."""
    training = config.training
    if not training.adversarial_weight or training.adversarial_features not in FEATURES:
        return None
    return Discriminator(FEATURES[training.adversarial_features].channels(config))
