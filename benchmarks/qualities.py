"""JPEG restoration by quality: the JPEG, the guidance (initial prediction alone) and what `ucdir restore` makes of it.

    UCDIR_WEIGHTS=weights python benchmarks/qualities.py --clean LIVE1 -o results [--qualities 5 10 …] [--images 16]

Each clean image is compressed by libjpeg with 4:2:0, and the bytes of that file are restored with no option but the
task, in float32. Figures of each image are kept in the folder of `-o`, so that the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ucdir.degradations import JpegCompression
from ucdir.evaluation.measure import load_metrics, measure
from ucdir.images import find_images, read
from ucdir.images.atomic import atomic_write
from ucdir.images.pixels import to_rgb8, to_signal
from ucdir.metrics.distribution import AlexNet, frechet_distance, patches
from ucdir.model.pretrained import model_digest, model_folder
from ucdir.pipeline import RestorationPipeline, load
from ucdir.workflows.restore import restore

METRICS = ("lpips", "psnr", "ssim", "niqe")
BETTER = {"lpips": -1, "psnr": 1, "ssim": 1, "niqe": -1, "frechet_alexnet": -1}
DIGITS = {"lpips": 4, "psnr": 2, "ssim": 4, "niqe": 2, "frechet_alexnet": 2}
ROWS = ("JPEG", "guidance", "default")
Figures = dict[str, NDArray[np.float32]]


def features_of(network: AlexNet, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """AlexNet's features of the 256x256 patches, [n,256]."""
    cut = patches(torch.from_numpy(to_signal(image)))
    with torch.no_grad():
        return network(cut).numpy() if len(cut) else np.zeros((0, 256), np.float32)


def images_of(
    pipeline: RestorationPipeline, clean: NDArray[np.uint8], quality: int
) -> dict[str, NDArray[np.uint8]]:
    """The images of the rows."""
    data = JpegCompression(quality, "4:2:0").encode(clean)
    run = partial(restore, data, task="jpeg_restoration", pipeline=pipeline, format="png")
    guidance, default = run(fidelity=1, amount=1, consistent=False), run()
    return dict(zip(ROWS, (read(data).pixels, read(guidance).pixels, read(default).pixels), strict=True))


def chosen(folder: Path, count: int | None) -> list[Path]:
    """All images of a folder, or so many, spread evenly."""
    names = find_images(folder)
    count = min(count or len(names), len(names))
    return [names[(2 * i + 1) * len(names) // (2 * count)] for i in range(count)]


def figures(
    pipeline: RestorationPipeline, network: AlexNet, clean: NDArray[np.uint8], quality: int
) -> Figures:
    """Of one image: metrics of each row, [4], and features of each row and of the clean image, [n,256]."""
    images = images_of(pipeline, clean, quality)
    found = {"clean features": features_of(network, clean)}
    for name, image in images.items():
        found[name] = np.array([measure(m, image, clean) for m in load_metrics(METRICS)], np.float32)
        found[f"{name} features"] = features_of(network, image)
    return found


def table(quality: int, found: list[Figures]) -> list[str]:
    """Lines of a table; a value of the default that is worse than the JPEG's has an exclamation mark.

    Means are of the images of which every row has a value: one that is too flat for a metric has none (NaN).
    """
    lines, jpeg = [], dict[str, float]()
    defined = ~np.isnan([[one[row] for row in ROWS] for one in found]).any(axis=1)  # [n,4]
    clean = torch.from_numpy(np.concatenate([one["clean features"] for one in found]))
    for row in ROWS:
        values = np.stack([one[row] for one in found])
        means = {
            name: float(values[there, i].mean()) if (there := defined[:, i]).any() else float("nan")
            for i, name in enumerate(METRICS)
        }
        features = torch.from_numpy(np.concatenate([one[f"{row} features"] for one in found]))
        means["frechet_alexnet"] = frechet_distance(features, clean) if len(clean) > 1 else float("nan")
        jpeg = jpeg or means
        cells = []
        for name, value in means.items():
            worse = row == "default" and BETTER[name] * (value - jpeg[name]) < -0.5 * 10 ** -DIGITS[name]
            cells.append(f"{value:.{DIGITS[name]}f}{' !' if worse else ''}")
        lines.append(f"| {quality} | {row} | {' | '.join(cells)} |")
    return lines


def store(file: Path, found: Figures) -> None:
    """Write the figures of an image, whole or not at all: a file that is there is not measured again."""
    data = io.BytesIO()
    np.savez(data, **found)
    atomic_write([data.getvalue()], file, force=True)


def main() -> None:
    """Measure what is missing, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--qualities", type=int, nargs="+", default=[5, 10, 20, 30, 40, 60, 80])
    parser.add_argument("--model", default="jpeg_restoration")
    parser.add_argument("--images", type=int, help="only so many, spread evenly, as training sets some aside")
    parser.add_argument("--crop", type=int, help="only the middle, so many pixels a side")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pipeline, network = load(given.model, "cpu", "fp32"), AlexNet()
    names = chosen(given.clean, given.images)
    folder = given.output / f"{model_digest(model_folder(given.model))[:16]}_{given.crop or 'whole'}"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{len(names)} images, {given.model}")
    print("| quality | | LPIPS↓ | PSNR↑ | SSIM↑ | NIQE↓ | frechet_alexnet↓ |")
    print("|---|---|---|---|---|---|---|")
    for quality in given.qualities:
        found = []
        for name in names:
            digest = hashlib.sha256(name.read_bytes()).hexdigest()[:16]  # names are not unique
            file = folder / f"{name.stem}_{digest}_{quality}.npz"
            if not file.exists():
                clean = to_rgb8(read(name).pixels)
                if given.crop:
                    top, left = (max(0, side - given.crop) // 16 * 8 for side in clean.shape[:2])
                    clean = clean[top : top + given.crop, left : left + given.crop]
                store(file, figures(pipeline, network, clean, quality))
            with np.load(file) as stored:
                found.append(dict(stored))
        print("\n".join(table(quality, found)), flush=True)


if __name__ == "__main__":
    main()
