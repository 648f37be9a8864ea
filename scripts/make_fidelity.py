"""Makes docs/fidelity.png: a part of an example compressed, by three fidelities, averaged, and where samples differ.

    python scripts/make_fidelity.py [-o FILE]

From left to right: the JPEG, --fidelity 1, 0.5 and 0, the mean of eight samples, and their uncertainty.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

import ucdir

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "coffee.jpg"
BOX = (270, 180, 398, 308)
"""The part that is shown: left, top, right, bottom."""
SCALE = 2
"""How many times a pixel is repeated, in each direction."""
GAP = 8
"""White pixels between the parts."""


def main() -> None:
    """Restore the example in each way, and paste the parts side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "fidelity.png")
    output = parser.parse_args().output
    pipeline = ucdir.load("jpeg_restoration", precision="fp32")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [EXAMPLE]
        for fidelity in (1.0, 0.5, 0.0):
            files.append(folder / f"{fidelity}.png")
            ucdir.restore(EXAMPLE, files[-1], pipeline=pipeline, fidelity=fidelity)
        files += [folder / "mean.png", folder / "map.png"]
        ucdir.restore(EXAMPLE, files[-2], pipeline=pipeline, samples=8, uncertainty=files[-1])
        side = SCALE * (BOX[2] - BOX[0])
        sheet = Image.new("RGB", (len(files) * (side + GAP) - GAP, side), "white")
        for column, file in enumerate(files):
            part = Image.open(file).convert("RGB").crop(BOX)
            part = part.resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(part, (column * (side + GAP), 0))
    sheet.save(output, optimize=True)
    print(f"{output}  {sheet.width}x{sheet.height}  {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
