"""Exports models to web/public/models, where the page finds them, with a list of their files and how large they are.

    python scripts/make_web_models.py [FOLDER] [--model NAME_OR_FOLDER ...] [--precision fp16]

By default the pretrained models, but for jpeg_restoration_free, which is four times as large as the others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

from ucdir.model.pretrained import model_folder
from ucdir.workflows.export import export

FOLDER = Path(__file__).parents[1] / "web" / "public" / "models"
MODELS = ("jpeg_restoration", "deblurring", "low_light")
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
            "files": {file: hashlib.sha256(content).hexdigest()[:12] for file, content in contents.items()},
        })  # fmt: skip
        print(f"{output.name}: {models[-1]['bytes'] / 1e6:.1f} MB")
    (given.folder / "index.json").write_text(json.dumps(models, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
