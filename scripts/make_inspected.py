"""Makes docs/inspected.md and its pictures: a photo of each kind of damage, what `ucdir inspect` said, and the result.

    pip download --no-deps scikit-image
    python scripts/make_inspected.py scikit_image-*.whl

The clean photos are those of scripts/make_examples.py; sources and licences are in examples/README.md. Each is degraded
as a whole and restored by `ucdir restore` with no option; a part is shown, before and after.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import ucdir
from ucdir.degradations import DefocusBlur, JpegCompression, LowLightNoise, MotionBlur
from ucdir.images import Photo, write

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIZE = (288, 224)
"""Width and height in pixels of the part that is shown."""
Rgb8 = NDArray[np.uint8]

TOP = """# Inspected

One photo of each kind of damage, what `ucdir inspect` said of it, and what `ucdir restore` made of it with no option:
on the left as it was, on the right restored. Made by `scripts/make_inspected.py`; the photos' sources and licences are
in [examples/README.md](../examples/README.md). What is measured, and how well: [inspect.md](inspect.md).
"""


def shaken(clean: Rgb8) -> Rgb8:
    """By a camera that turned, 14 pixels at 25 degrees."""
    way = np.linspace(-0.5, 0.5, 41)[:, None] * 14 / 1000
    turn = np.radians(25)
    return MotionBlur(way * [np.cos(turn), -np.sin(turn), 0], focal_length=1000.0)(clean)


def film_grain(clean: Rgb8) -> Rgb8:
    """White noise of a deviation of 18 levels."""
    noise = np.random.default_rng(0).normal(0, 18, clean.shape)
    return np.rint(np.clip(clean + noise, 0, 255)).astype(np.uint8)


DAMAGE: dict[str, tuple[str, str, tuple[int, int], Callable[[Rgb8], Rgb8]]] = {
    "jpeg": ("JPEG, quality 15", "coffee", (230, 120), JpegCompression(15)),
    "jpeg_twice": (
        "JPEG of quality 20, cropped, saved again at 90", "chelsea", (90, 40),
        lambda clean: JpegCompression(90)(JpegCompression(20)(clean)[3:, 5:]),
    ),
    "motion": ("camera shake, 14 pixels at 25°", "coffee", (230, 120), shaken),
    "defocus": ("out of focus, 8 pixels", "astronaut", (90, 0), DefocusBlur(radius=4.0)),
    "noise": ("white noise, 18 levels", "astronaut", (90, 0), film_grain),
    "dark": (
        "a 40th of the light, amplified", "chelsea", (90, 40), LowLightNoise(exposure_ratio=40.0, gain=2.0, seed=1),
    ),
    "clean": ("nothing", "coffee", (230, 120), lambda clean: clean),
}  # fmt: skip
"""By name: what was done, to which photo, the corner (x, y) of the part that is shown, and how."""


def main() -> None:
    """Write the pictures and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="a wheel of scikit-image")
    parser.add_argument("-o", "--output", type=Path, default=DOCS, help="folder to write to")
    arguments = parser.parse_args()
    page = [TOP]
    with zipfile.ZipFile(arguments.wheel) as wheel, tempfile.TemporaryDirectory() as folder:
        for name, (what, source, (x, y), degrade) in DAMAGE.items():
            clean = np.asarray(
                Image.open(io.BytesIO(wheel.read(f"skimage/data/{source}.png"))).convert("RGB")
            )
            photo, result = Path(folder) / f"{name}.png", Path(folder) / f"{name}.restored.png"
            write(Photo(np.ascontiguousarray(degrade(clean))), photo)
            found = ucdir.inspect(photo)
            done = ucdir.restore(photo, result)
            box = (x, y, x + SIZE[0], y + SIZE[1])
            parts = [Image.open(file).convert("RGB").crop(box) for file in (photo, result) if file.exists()]
            sheet = Image.new("RGB", (len(parts) * (SIZE[0] + 8) - 8, SIZE[1]), "white")
            for number, part in enumerate(parts):
                sheet.paste(part, (number * (SIZE[0] + 8), 0))
            picture = arguments.output / f"inspected_{name}.webp"
            sheet.save(picture, quality=85, method=6)
            said = "\n".join((found.headline(f"{name}.png"), *(f"  {line}" for line in found.lines())))
            page.append(
                f"\n## {what[0].upper()}{what[1:]}\n\n![{what}, and restored]({picture.name})\n\n```text\n{said}\n```\n"
            )
            print(f"{picture.name}  {picture.stat().st_size:,} bytes  {done.task} {done.scalars}")
    (arguments.output / "inspected.md").write_text("".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
