"""Deblurring models on real pairs and on synthetic blur, beside the blurred image and Richardson-Lucy.

    python benchmarks/deblurring.py --model deblurring --pairs scene=GOPRO/train:GOPR0374* --pairs GOPRO/test \\
        --clean LIVE1 --crop 256 --limit 8

`--pairs` takes a data set of real pairs, perhaps with a name before it and a pattern of its pairs' names behind it.
The photographs of `--clean` are blurred by a shaken camera, and by a lens out of focus, as `ucdir degrade` does. The
models are told nothing of the blur. Richardson-Lucy is: the kernel in the middle of the image; of a real pair it is
given a Gaussian. Seconds are of the processor, a megapixel; run it with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean

import numpy as np

from ucdir.data.photos import find_photos
from ucdir.degradations import BlurGenerator, DefocusBlur, MotionBlur
from ucdir.evaluation.cases import Case, Cases, CleanSource, Pixels
from ucdir.evaluation.measure import load_metrics, measure
from ucdir.evaluation.methods import Degraded, Method, Restorer
from ucdir.images.camera import linear_to_srgb, srgb_to_linear
from ucdir.model.pretrained import model_folder
from ucdir.pipeline import load
from ucdir.tasks.deblurring import Deblurring

METRICS = ("psnr", "lpips", "niqe")
GAUSSIAN = 2.0
"""Standard deviation in pixels of the blur that Richardson-Lucy is given where it is unknown."""
ITERATIONS = 20

Kernel = np.ndarray
"""[n,n], n odd, adding up to 1."""


def kernel_of(blur: MotionBlur | DefocusBlur) -> Kernel:
    """The blur of a point in the middle of the image."""
    if isinstance(blur, DefocusBlur):
        return blur.kernel()
    reach = 40
    point = np.zeros((2 * reach + 1, 2 * reach + 1, 3), np.uint8)
    point[reach, reach] = 255
    kernel = srgb_to_linear(MotionBlur(blur.rotations, blur.focal_length, blur.offset)(point)[..., 0] / 255.0)
    return kernel / kernel.sum()


def gaussian() -> Kernel:
    """Of a real image, for want of anything better."""
    x = np.arange(-int(3 * GAUSSIAN), int(3 * GAUSSIAN) + 1)
    kernel = np.exp(-(x[:, None] ** 2 + x**2) / (2 * GAUSSIAN**2))
    return kernel / kernel.sum()


def richardson_lucy(degraded: Pixels, kernel: Kernel) -> Pixels:
    """Deconvolution of light, channel by channel."""
    from skimage.restoration import richardson_lucy as deconvolve

    reach = len(kernel) // 2
    framed = np.pad(degraded, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    light = srgb_to_linear(framed / 255.0)
    found = [deconvolve(light[..., c], kernel, num_iter=ITERATIONS) for c in range(3)]
    return np.rint(linear_to_srgb(np.stack(found, -1)[reach:-reach, reach:-reach]) * 255).astype(np.uint8)


class RichardsonLucy:
    """As a method: given the kernel that a case was blurred with."""

    name = identity = "Richardson-Lucy"

    def __init__(self, generator: BlurGenerator | None) -> None:
        self.generator, self.number = generator, 0

    def restore(self, case: Case) -> Pixels:
        """The cases come in their order, and each was blurred by its number."""
        kernel = gaussian()
        if self.generator is not None:
            blur = self.generator.draw(np.random.default_rng(self.number))
            assert isinstance(blur, MotionBlur | DefocusBlur)  # noqa: S101 (there are no scenes)
            kernel = kernel_of(blur)
        self.number += 1
        assert case.degraded is not None  # noqa: S101
        return richardson_lucy(case.degraded, kernel)


def rows_of(cases: Iterable[Case], methods: list[Method]) -> Iterator[str]:
    """A line of the table for each method."""
    metrics = load_metrics(METRICS)
    values: dict[str, list[list[float]]] = {method.name: [] for method in methods}
    for case in cases:
        for method in methods:
            start = time.process_time()
            restored = method.restore(case)
            seconds = (time.process_time() - start) / (case.clean[..., 0].size / 1e6)
            found = [measure(metric, restored, case.clean) for metric in metrics]  # type: ignore[arg-type]
            values[method.name].append([*(float("nan") if v is None else v for v in found), seconds])
    for name, measured in values.items():
        yield f"{name} | " + " | ".join(
            f"{fmean(column):.{digits}f}"
            for column, digits in zip(zip(*measured, strict=True), (2, 4, 2, 1), strict=True)
        )


def sets_of(arguments: argparse.Namespace) -> Iterator[tuple[str, list[Case], BlurGenerator | None]]:
    """Name, cases and, if they are synthetic, what blurred them."""
    for text in arguments.pairs:
        name, _, place = text.rpartition("=")
        folder, _, pattern = place.partition(":")
        sources = Cases("deblurring", pairs=Path(folder), crop=arguments.crop).sources
        chosen = [source for source in sources if fnmatchcase(source.name, pattern or "*")]
        yield name or folder, [source.read() for source in chosen[: arguments.limit]], None
    for name, share in (("camera shake", 0), ("defocus", 1)) if arguments.clean else ():
        generator = BlurGenerator(
            lengths=(4, 32), defocus_probability=share, scene_probability=0, unknown_probability=1
        )
        files = find_photos(arguments.clean)[: arguments.limit]
        task = Deblurring(generator)
        yield (
            name,
            [CleanSource(f.name, f, task, n, arguments.crop).read() for n, f in enumerate(files)],
            generator,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", default=[], help="name or folder; may be repeated")
    parser.add_argument("--pairs", action="append", default=[], metavar="[NAME=]FOLDER[:PATTERN]")
    parser.add_argument("--clean", type=Path)
    parser.add_argument("--crop", type=int, help="side of the centre that is measured")
    parser.add_argument("--limit", type=int, help="images of each set")
    arguments = parser.parse_args()
    print("| images | method | PSNR | LPIPS | NIQE | s/MP |\n|---|---|---|---|---|---|")
    for name, cases, generator in sets_of(arguments):
        methods: list[Method] = [Degraded("blurred"), RichardsonLucy(generator)]
        for model in arguments.model:
            pipeline, folder, label = load(model, "cpu", "fp32"), model_folder(model), Path(model).name
            methods.append(Restorer(f"{label}, guidance alone", pipeline, folder, start_fraction=0, given={}))
            methods.append(Restorer(label, pipeline, folder, given={}))
        for row in rows_of(cases, methods):
            print(f"| {name} ({len(cases)}) | {row} |", flush=True)


if __name__ == "__main__":
    main()
