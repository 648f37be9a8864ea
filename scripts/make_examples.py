"""Makes examples/*.jpg: three photos with free licences, through a JPEG file of quality 10.

    pip download --no-deps scikit-image
    python scripts/make_examples.py scikit_image-*.whl

The clean photos lie in the wheel of scikit-image, which is opened as the zip file that it is, and not
installed. Sources and licences are in examples/README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ucdir.degradations import JpegCompression

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

QUALITY = 10
"""JPEG quality of the examples: the one that the paper tests at (Sec. 4.5)."""

SHA256 = {
    "astronaut": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
}
"""The clean photos by name: `skimage/data/NAME.png` in the wheel."""


def main() -> None:
    """Write the examples, or say which photo is not the one that is expected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="a wheel of scikit-image")
    parser.add_argument("-o", "--output", type=Path, default=EXAMPLES, help="folder to write to")
    arguments = parser.parse_args()

    with zipfile.ZipFile(arguments.wheel) as wheel:
        for name, expected in SHA256.items():
            png = wheel.read(f"skimage/data/{name}.png")
            if hashlib.sha256(png).hexdigest() != expected:
                raise SystemExit(
                    f"{arguments.wheel}: {name}.png is another image than the one whose licence is known."
                )
            clean = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
            jpeg = JpegCompression(QUALITY).encode(clean)
            (arguments.output / f"{name}.jpg").write_bytes(jpeg)
            print(f"{name}.jpg  {clean.shape[1]}x{clean.shape[0]}  {len(jpeg):,} bytes")


if __name__ == "__main__":
    main()
