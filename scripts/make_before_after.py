"""Makes docs/before_after.png: a part of each example as it is (left) and restored (right), enlarged twice.

    python scripts/make_before_after.py [--model NAME|FOLDER] [-o FILE]

Pixels are repeated, not interpolated, so that the image shows what the program made and nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

import ucdir

ROOT = Path(__file__).resolve().parents[1]

SIZE = (208, 128)
"""Width and height in pixels of the part that is shown."""
CORNERS = {"chelsea": (120, 60), "coffee": (270, 180), "astronaut": (110, 10)}
"""The part's left upper corner (x, y) in each example."""
SCALE = 2
"""How many times a pixel is repeated, in each direction."""
GAP = 8
"""White pixels between the parts."""


def enlarged(photo: Path, corner: tuple[int, int]) -> Image.Image:
    """The part of a photo that is shown."""
    box = (*corner, corner[0] + SIZE[0], corner[1] + SIZE[1])
    part = Image.open(photo).convert("RGB").crop(box)
    return part.resize((SIZE[0] * SCALE, SIZE[1] * SCALE), Image.Resampling.NEAREST)


def main() -> None:
    """Restore the examples as `ucdir restore` does, and paste their parts side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="jpeg_restoration", help="name of a model, or the folder of one")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "before_after.png")
    arguments = parser.parse_args()

    pipeline = ucdir.load(arguments.model, precision="fp32")
    width, height = SIZE[0] * SCALE + GAP, SIZE[1] * SCALE + GAP
    sheet = Image.new("RGB", (2 * width - GAP, len(CORNERS) * height - GAP), "white")
    with tempfile.TemporaryDirectory() as folder:
        for row, (name, corner) in enumerate(CORNERS.items()):
            degraded = ROOT / "examples" / f"{name}.jpg"
            restored = Path(folder) / f"{name}.png"
            ucdir.restore(degraded, restored, pipeline=pipeline)
            sheet.paste(enlarged(degraded, corner), (0, row * height))
            sheet.paste(enlarged(restored, corner), (width, row * height))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.output, optimize=True)
    print(f"{arguments.output}  {sheet.width}x{sheet.height}  {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
