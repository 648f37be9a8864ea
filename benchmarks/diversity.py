"""Whether samples are honest: they differ where they are wrong, by as much as they are wrong.

    UCDIR_WEIGHTS=weights python benchmarks/diversity.py --clean FOLDER --model MODEL \\
        [--quality 10] [--diversity 0 1] [--steps 25] [--second WEIGHTS]

Of each image (its middle, compressed by libjpeg at one quality), so many samples, of consecutive seeds:

    mean        PSNR of the mean of the samples; it should be that of the guidance (the initial prediction), or more
    sample      PSNR and LPIPS of a sample, and the Frechet distance of AlexNet's features of all first samples
    ratio       √(mean variance · (1 + 1/n)) / root mean square error of the mean; 1 for samples of what could have been
    correlation of spread and error over cells of 16x16 pixels (Pearson's, of their roots of mean squares)
    second      distance and Frechet distance of first samples by a network that is in no training, with its weights
                (`second_network.py` says which)

A model that does not take the scalar `diversity` has one row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from second_network import EfficientNetLite0, distance

from ucdir.data.sources import middle
from ucdir.degradations import JpegCompression
from ucdir.evaluation.measure import load_metrics, measure
from ucdir.images import find_images, read
from ucdir.images.pixels import from_signal, to_rgb8, to_signal
from ucdir.metrics.distribution import AlexNet, frechet_distance
from ucdir.pipeline import RestorationPipeline, load
from ucdir.pth_file import tensors_of

CELL = 16
FRECHET_SIDE = 64
"""Side of the patches that the Frechet distance is of, as there are few images."""
Floats = NDArray[np.float32]


def cells(squares: Floats) -> Floats:
    """Root mean square of each whole cell: [3,H,W] -> [cells]."""
    _, height, width = squares.shape
    cut = squares[:, : height // CELL * CELL, : width // CELL * CELL]
    means: Floats = cut.reshape(3, height // CELL, CELL, width // CELL, CELL).mean((0, 2, 4))
    return np.sqrt(means).ravel()


def honesty(samples: Floats, clean: Floats) -> tuple[float, float, Floats, Floats]:
    """Of samples [n,3,H,W] and the clean image: mean variance times 1 + 1/n, mean squared error, and both in cells."""
    variance = samples.var(axis=0, ddof=1) * (1 + 1 / len(samples))
    error = np.square(samples.mean(axis=0) - clean)
    return float(variance.mean()), float(error.mean()), cells(variance), cells(error)


def tiles_of(image: NDArray[np.uint8]) -> torch.Tensor:
    """Small patches of an image: [n,3,h,w] in [-1,1]."""
    side, signal = FRECHET_SIDE, torch.from_numpy(to_signal(image))
    tiles = signal.unfold(2, side, side).unfold(3, side, side)
    return tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side)


class Second:
    """Distance and Frechet distance by a network that is in no training, to clean images."""

    def __init__(self, weights: Path, cleans: list[NDArray[np.uint8]]) -> None:
        self.network = EfficientNetLite0(tensors_of(weights))
        self.clean = [self.network(torch.from_numpy(to_signal(image))) for image in cleans]
        self.real = self.of_tiles(cleans)

    def of_tiles(self, images: list[NDArray[np.uint8]]) -> torch.Tensor:
        """Features of small patches: [n,C]."""
        return torch.cat([self.network(tiles_of(image))[-1].mean(dim=(2, 3)) for image in images])

    def figures(self, images: list[NDArray[np.uint8]]) -> str:
        """Both distances of restored images, in the order of the clean ones."""
        distances = [
            distance(self.network(torch.from_numpy(to_signal(image))), clean)
            for image, clean in zip(images, self.clean, strict=True)
        ]
        return f"{np.mean(distances):.3f} / {frechet_distance(self.of_tiles(images), self.real):.1f}"


def row(
    pipeline: RestorationPipeline,
    pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    known: dict[str, float],
    count: int,
    steps: int | None,
    network: AlexNet,
    real: torch.Tensor,
    second: Second | None,
) -> str:
    """The figures of one diversity; `real` are the network's features of the clean images' patches."""
    psnr, lpips = load_metrics(("psnr", "lpips"))
    figures, spreads, errors, firsts = [], [], [], []
    for clean, degraded in pairs:
        signal, like = to_signal(degraded), np.empty((1, 1, 3), np.uint8)
        guidance = from_signal(pipeline.restore_signal(signal, fidelity=1, amount=1), like)
        samples = np.concatenate(
            [
                pipeline.restore_signal(signal, seed=seed, scalars=known, amount=1, steps=steps)
                for seed in range(count)
            ]
        )
        first, mean = from_signal(samples[:1], like), from_signal(samples.mean(axis=0, keepdims=True), like)
        variance, error, spread, wrong = honesty(samples, to_signal(clean)[0])
        figures.append([
            measure(psnr, guidance, clean), measure(psnr, mean, clean), measure(psnr, first, clean),
            measure(lpips, first, clean), variance, error,
        ])  # fmt: skip
        spreads.append(spread)
        errors.append(wrong)
        firsts.append(first)
    m = np.mean(figures, axis=0)
    correlation = np.corrcoef(np.concatenate(spreads), np.concatenate(errors))[0, 1]
    frechet = frechet_distance(torch.cat([network(tiles_of(image)) for image in firsts]), real)
    return (
        f"{m[0]:.2f} | {m[1]:.2f} ({m[1] - m[0]:+.2f}) | {m[2]:.2f} | {m[3]:.4f} | {frechet:.2f} | "
        f"{np.sqrt(m[4] / m[5]):.3f} | {correlation:.3f}{'' if second is None else f' | {second.figures(firsts)}'}"
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--model", default="jpeg_restoration")
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--diversity", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, help="the model's own by default")
    parser.add_argument("--images", type=int, default=16, help="at most so many, spread evenly")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--second", type=Path, metavar="WEIGHTS")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    pipeline = load(given.model, "cpu", "fp32")
    names = find_images(given.clean)
    count = min(given.images, len(names))
    cleans = [
        middle(to_rgb8(read(names[(2 * i + 1) * len(names) // (2 * count)]).pixels), given.crop)
        for i in range(count)
    ]
    pairs = [(clean, JpegCompression(given.quality, "4:2:0")(clean)) for clean in cleans]
    network = AlexNet()
    real = torch.cat([network(tiles_of(clean)) for clean in cleans])
    second = Second(given.second, cleans) if given.second else None
    takes = "diversity" in pipeline.engine.scalars
    print(f"{count} images, {given.model}, quality {given.quality}, {given.samples} samples")
    columns = [
        "diversity", "guidance PSNR", "mean of samples", "sample PSNR", "LPIPS", "Frechet", "ratio", "correlation",
        *(["second"] if given.second else []),
    ]  # fmt: skip
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for diversity in given.diversity if takes else [None]:
        known = {"jpeg_quality": float(given.quality)} | (
            {} if diversity is None else {"diversity": diversity}
        )
        said = "not taken" if diversity is None else diversity
        figures = row(pipeline, pairs, known, given.samples, given.steps, network, real, second)
        print(f"| {said} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
