"""Noise: real pairs of a camera, the dark at two ratios, and what has hardly any noise; beside BM3D.

    python benchmarks/denoising.py low_light runs/models/new --pairs POLYU --held-out 'Sony_*' --clean LIVE1

For each model the restored image and its initial prediction alone; a regression baseline is a model like others. BM3D
is the package of that name (its licence is not for commercial use; `pip install bm3d`), and is told the standard
deviation of the noise, which nobody knows of a real photo. Models are told what `ucdir evaluate` tells them: all
scalars of what is darkened here, and nothing of photos.

Columns: PSNR, LPIPS, `banding` (how much the luma of rows or columns wavers, in 8-bit levels: `banding` below) and
`change`, the PSNR of the restored image from its own input. The `nearly clean` images are the clean ones themselves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np

from ucdir.data.pairs import find_pairs
from ucdir.evaluation.cases import Case, Cases, PairSource, Pixels
from ucdir.evaluation.measure import load_metrics, measure
from ucdir.evaluation.methods import Restorer
from ucdir.model.pretrained import model_folder
from ucdir.pipeline import load

Method = Callable[[Case], Pixels]
WINDOW = 15
"""Rows or columns that a wavering is narrower than."""


def banding(restored: Pixels, clean: Pixels) -> float:
    """Standard deviation of the error of rows or columns, whichever is more, from their neighbours', in levels."""
    error = (restored.astype(np.float64) - clean) @ (0.299, 0.587, 0.114)
    window = np.ones(WINDOW) / WINDOW
    lines = (error.mean(axis=axis) for axis in (0, 1))
    return max(float(np.std((line - np.convolve(line, window, "same"))[WINDOW:-WINDOW])) for line in lines)


def bm3d(case: Case) -> Pixels:
    """BM3D, told the true standard deviation."""
    from bm3d import bm3d_rgb

    noisy = degraded(case).astype(np.float64)
    std = float(np.sqrt(np.mean((noisy - case.clean) ** 2)))
    if std == 0:
        return degraded(case)
    restored = bm3d_rgb(noisy / 255, std / 255)
    return np.rint(restored.clip(0, 1) * 255).astype(np.uint8)


def degraded(case: Case) -> Pixels:
    """The input itself."""
    assert case.degraded is not None  # noqa: S101 (for the type checker)
    return case.degraded


def nearly_clean(sources: Sequence[Case]) -> list[Case]:
    """The clean images as inputs."""
    return [Case(case.name, case.stem, case.clean, case.clean) for case in sources]


def sets(given: argparse.Namespace) -> Iterator[tuple[str, list[Case]]]:
    """The images by the names of the sets."""
    if given.pairs is not None:
        pairs = [pair for pair in find_pairs(given.pairs) if fnmatchcase(pair.name, given.held_out)]
        real = [PairSource(pair, None).read() for pair in pairs[: given.limit]]
        yield f"real, {given.held_out}", real
        yield "nearly clean, the clean images of these pairs", nearly_clean(real)
    if given.clean is not None:
        for ratio in given.ratios:
            cases = Cases("low_light", given.clean, strength=ratio, limit=given.limit, crop=given.crop)
            dark = [source.read() for source in cases]
            yield f"ratio {ratio:g}", dark
        yield "nearly clean, photos", nearly_clean(dark)


def methods(names: Sequence[str], device: str) -> dict[str, Method]:
    """By the names of their rows."""
    found: dict[str, Method] = {"input": degraded, "BM3D": bm3d}
    for name in names:
        pipeline, folder = load(name, device=device), model_folder(name)
        short = Path(name).name
        found[f"{short}, initial prediction"] = Restorer(name, pipeline, folder, start_fraction=0.0).restore
        found[short] = Restorer(name, pipeline, folder).restore
    return found


def row(method: Method, cases: Sequence[Case]) -> Mapping[str, float]:
    """Means over the images."""
    psnr, lpips = (partial(measure, metric) for metric in load_metrics(["psnr", "lpips"]))
    found: list[Mapping[str, float | None]] = []
    for case in cases:
        restored = method(case)
        same = np.array_equal(restored, degraded(case))
        found.append(
            {
                "psnr": None if np.array_equal(restored, case.clean) else psnr(restored, case.clean),
                "lpips": lpips(restored, case.clean),
                "banding": banding(restored, case.clean),
                "change": None if same else psnr(restored, degraded(case)),
            }
        )
    numbers = {name: [one[name] for one in found if one[name] is not None] for name in found[0]}
    return {name: fmean(values) for name, values in numbers.items() if values}  # type: ignore[type-var]


def main() -> None:
    """Measure and print a table for each set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help="names or folders of models")
    parser.add_argument("--pairs", type=Path, help="real pairs")
    parser.add_argument("--held-out", default="*", help="pattern of the names of the pairs to measure")
    parser.add_argument("--clean", type=Path, help="folder of clean photos")
    parser.add_argument("--ratios", type=float, nargs="+", default=[100.0, 300.0])
    parser.add_argument("--limit", type=int, help="number of images of each set")
    parser.add_argument("--crop", type=int, default=320, help="side of the middle of clean photos")
    parser.add_argument("--no-bm3d", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, help="file that each row is appended to as JSON")
    given = parser.parse_args()
    compared = methods(given.models, given.device)
    if given.no_bm3d:
        del compared["BM3D"]
    for name, cases in sets(given):
        print(
            f"\n{name}, {len(cases)} images\n\n| | PSNR↑ | LPIPS↓ | banding↓ | change, dB |\n|---|---|---|---|---|"
        )
        for label, method in compared.items():
            means = row(method, cases)
            texts = [
                f"{means[column]:.{digits}f}" if column in means else "-"
                for column, digits in (("psnr", 2), ("lpips", 4), ("banding", 2), ("change", 2))
            ]
            print(f"| {label} | {' | '.join(texts)} |", flush=True)
            if given.output is not None:
                with given.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"set": name, "method": label, **means}) + "\n")


if __name__ == "__main__":
    main()
