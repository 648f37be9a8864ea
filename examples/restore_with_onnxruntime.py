"""Restores a photo with onnxruntime, NumPy and Pillow alone, from a folder that `ucdir export` wrote.

    ucdir export jpeg_restoration -o jpeg_onnx
    python examples/restore_with_onnxruntime.py jpeg_onnx examples/chelsea.jpg chelsea.png jpeg_quality=10

What is known of the degradation is given as NAME=VALUE, a name in the folder's README. The photo is not split, so one
megapixel takes about 1 GB; `ucdir restore --model jpeg_onnx` splits it, and keeps its metadata and colour profile, too.
"""

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(folder: str, photo: str, output: str, *known: str) -> None:
    """Restore a photo."""
    settings = json.loads(Path(folder, "ucdir.json").read_text())
    predictor, diffusion_model = (
        onnxruntime.InferenceSession(Path(folder, f"{name}.onnx"))
        for name in ("predictor", "diffusion_model")
    )
    sampling = settings["pipeline"]
    if [sampling[key] for key in ("sampler", "eta", "residual_range")] != ["ddim", 0, "image"]:
        raise SystemExit(
            "this example knows only DDIM without eta, and the residual range of the pretrained models"
        )
    given = {name: float(value) for name, value in (one.split("=") for one in known)}
    defaults = {name: scalar.get("default") for name, scalar in settings["scalars"].items()}
    unknown = {name: np.nan if default is None else default for name, default in defaults.items()}
    scalars = {name: np.float32([given.pop(name, default)]) for name, default in unknown.items()}
    if given:
        raise SystemExit(f"the model does not take {', '.join(given)}; it takes {', '.join(scalars)}")

    with Image.open(photo) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.float32)
    height, width, _ = pixels.shape
    multiple = settings["multiple_of"]
    full = [max(-(-side // multiple), 2) * multiple for side in (height, width)]
    padded = np.pad(pixels, ((0, full[0] - height), (0, full[1] - width), (0, 0)), "reflect")
    degraded = padded.transpose(2, 0, 1)[None] / 127.5 - 1  # [1,3,H,W] in [-1,1]

    (guidance,) = predictor.run(None, {"degraded": degraded})
    scale, rng = sampling["residual_scale"], np.random.default_rng(0)
    levels = settings["noise_levels"]  # √γ
    noisy = (1 - levels[0] ** 2) ** 0.5 * rng.standard_normal(degraded.shape, np.float32)
    noisy *= sampling["noise_scale"]
    for level, following in pairwise(levels):
        images = {"noisy": noisy, "degraded": degraded, "guidance": guidance}
        (residual,) = diffusion_model.run(None, {**images, "noise_level": np.float32([level]), **scalars})
        if settings["prediction"] == "noise":
            residual = (noisy - (1 - level**2) ** 0.5 * residual) / level
        residual = residual.clip(scale * (-1 - guidance), scale * (1 - guidance))
        rest = ((1 - following**2) / (1 - level**2)) ** 0.5  # DDIM with eta 0
        noisy = following * residual + rest * (noisy - level * residual)

    restored = (guidance + noisy / scale)[0, :, :height, :width].clip(-1, 1).transpose(1, 2, 0)
    Image.fromarray(np.rint((restored + 1) * 127.5).astype(np.uint8)).save(output)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
