"""Images by classical restorers, to be measured beside ours by `ucdir evaluate --restored`.

    python benchmarks/peers.py jpegqs --task jpeg_restoration --clean FOLDER --strength 10 -o OUT
    ucdir evaluate --task jpeg_restoration --clean FOLDER --strength 10 --restored jpegqs=OUT -o results

`jpegqs` is Debian's program of that name; `non_local_means` and `richardson_lucy` are scikit-image's; `bm3d` is the
package of that name (its licence is not for commercial use). None of them is given more than the degraded image, and
jpegqs the JPEG file itself: the noise is estimated (by scikit-image, which needs PyWavelets for it), and the blur is
taken to be a Gaussian of standard deviation 2.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ucdir.data.photos import rgb8
from ucdir.degradations import JpegCompression
from ucdir.evaluation.cases import Case, Cases, Pixels
from ucdir.images import Photo, write
from ucdir.tasks import TASKS

GAUSSIAN = 2.0
"""Standard deviation in pixels of the blur that Richardson-Lucy is given."""
ITERATIONS = 15


def jpegqs(case: Case) -> Pixels:
    """Debian's jpegqs on the JPEG file."""
    with tempfile.TemporaryDirectory() as place:
        file, smoothed = Path(place, "in.jpg"), Path(place, "out.jpg")
        file.write_bytes(JpegCompression(int(case.scalars["jpeg_quality"])).encode(case.clean))
        subprocess.run(
            ["jpegqs", "--quality", "6", str(file), str(smoothed)], check=True, capture_output=True
        )
        return rgb8(smoothed)


def richardson_lucy(case: Case) -> Pixels:
    """Deconvolution by a Gaussian, channel by channel."""
    from skimage.restoration import richardson_lucy as deconvolve

    reach = int(3 * GAUSSIAN)
    x = np.arange(-reach, reach + 1)
    kernel = np.exp(-(x[:, None] ** 2 + x**2) / (2 * GAUSSIAN**2))
    kernel /= kernel.sum()
    image = np.pad(_degraded(case) / 255, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    restored = [deconvolve(image[..., c], kernel, num_iter=ITERATIONS) for c in range(3)]
    return _pixels(np.stack(restored, axis=-1)[reach:-reach, reach:-reach])


def non_local_means(case: Case) -> Pixels:
    """Non-local means with the noise that scikit-image estimates."""
    from skimage.restoration import denoise_nl_means, estimate_sigma

    image = _degraded(case) / 255
    sigma = float(np.mean(estimate_sigma(image, channel_axis=-1)))
    return _pixels(
        denoise_nl_means(image, h=0.8 * sigma, sigma=sigma, patch_size=5, patch_distance=6, channel_axis=-1)
    )


def bm3d(case: Case) -> Pixels:
    """BM3D in luma and chroma with the noise that scikit-image estimates."""
    from bm3d import bm3d_rgb
    from skimage.restoration import estimate_sigma

    image = _degraded(case) / 255
    return _pixels(bm3d_rgb(image, float(np.mean(estimate_sigma(image, channel_axis=-1)))))


PEERS: dict[str, Callable[[Case], Pixels]] = {
    "jpegqs": jpegqs,
    "richardson_lucy": richardson_lucy,
    "non_local_means": non_local_means,
    "bm3d": bm3d,
}


def _degraded(case: Case) -> Pixels:
    assert case.degraded is not None  # noqa: S101 (a task is named)
    return case.degraded


def _pixels(image: np.ndarray) -> Pixels:
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


def main() -> None:
    """Restore every image and write it as PNG."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--clean", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--strength", type=float)
    parser.add_argument("--held-out", type=int)
    parser.add_argument("--crop", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the images")
    arguments = parser.parse_args()
    cases = Cases(
        arguments.task, arguments.clean, arguments.pairs, arguments.strength, arguments.held_out, arguments.limit,
        arguments.crop,
    )  # fmt: skip
    settings = json.dumps(
        {k: str(v) for k, v in vars(arguments).items() if k not in ("output", "limit")}, indent=1
    )
    stored = arguments.output / "settings.json"
    arguments.output.mkdir(parents=True, exist_ok=True)
    if stored.exists() and stored.read_text(encoding="utf-8") != settings:
        parser.error(f"{stored}: the images there were made with other settings; name another folder.")
    stored.write_text(settings, encoding="utf-8")
    for source in cases:
        file = arguments.output / f"{source.stem}.png"
        if file.exists():  # by an earlier run
            continue
        case = source.read()
        file.parent.mkdir(parents=True, exist_ok=True)
        write(Photo(PEERS[arguments.peer](case)), file, force=True)
        print(file)


if __name__ == "__main__":
    main()
