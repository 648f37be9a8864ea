"""Exports models to web/public/models, where the page finds them, with a list of their files and how large they are.

    python scripts/make_web_models.py [FOLDER] [--model NAME_OR_FOLDER ...] [--precision fp16]

By default the pretrained models that `restore` chooses by itself, and the small one of JPEGs, which is faster.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ucdir.model.onnx_folder import Manifest
from ucdir.model.pretrained import model_folder
from ucdir.workflows.export import export

FOLDER = Path(__file__).parents[1] / "web" / "public" / "models"
MODELS = ("jpeg_restoration", "jpeg_restoration_small", "deblurring", "low_light")
FILES = ("predictor.onnx", "diffusion_model.onnx", "ucdir.json")


def main() -> None:
    """Export them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    models = []
    for name in given.model:
        output = given.folder / Path(name).name
        shutil.rmtree(output, ignore_errors=True)
        manifest = export(model_folder(name), output, precision=given.precision)
        (output / "README.md").unlink()
        contents = {file: (output / file).read_bytes() for file in FILES}
        models.append({
            "name": output.name,
            "task": manifest.pipeline.task,
            "scalars": {name: scalar.model_dump() for name, scalar in manifest.scalars.items()},
            "bytes": sum(map(len, contents.values())),
            "check": check(output, manifest),
            "files": {file: hashlib.sha256(content).hexdigest()[:12] for file, content in contents.items()},
        })  # fmt: skip
        print(f"{output.name}: {models[-1]['bytes'] / 1e6:.1f} MB")
    (given.folder / "index.json").write_text(json.dumps(models, indent=2) + "\n", encoding="utf-8")


def check(folder: Path, manifest: Manifest) -> dict[str, list[float]]:
    """What the networks give of a small pattern, by ONNX Runtime on the CPU: a GPU that gives another is not used."""
    pattern = np.sin(np.arange(3 * 16 * 16) * 0.7).astype(np.float32).reshape(1, 3, 16, 16)
    predictor, diffusion_model = (
        onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("predictor", "diffusion_model")
    )
    images = {"noisy": pattern[:, ::-1], "degraded": pattern, "guidance": pattern / 2}
    images = {name: np.ascontiguousarray(image) for name, image in images.items()}

    def denoised(scalars: dict[str, float]) -> Any:
        numbers = {"noise_level": manifest.noise_levels[0], **scalars}
        arrays = {name: np.array([value], np.float32) for name, value in numbers.items()}
        return diffusion_model.run(None, {**images, **arrays})[0]

    results = {
        "predictor": predictor.run(None, {"degraded": pattern})[0],
        "unknown": denoised(dict.fromkeys(manifest.scalars, float("nan"))),
        "known": denoised({name: sum(one.range) / 2 for name, one in manifest.scalars.items()}),
    }
    return {name: [round(float(x), 5) for x in result.ravel()[::37]] for name, result in results.items()}


if __name__ == "__main__":
    main()
