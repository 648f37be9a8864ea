"""The pretrained models restore what they restored when these pictures were made, in float32."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ucdir.cli import app
from ucdir.images import read

GOLDEN = Path(__file__).parent / "data" / "golden"
CASES = [
    *(
        f"{model}_{size}"
        for model in ("jpeg_restoration", "deblurring", "low_light")
        for size in ("small", "large")
    ),
    "jpeg_restoration_eq1_small",
    "jpeg_restoration_small_large",
    "low_light_small_large",
]


def restored(name, folder, *options):
    (degraded,) = GOLDEN.glob(f"{name}.*")
    output = folder / "restored.png"
    model = name.rpartition("_")[0]
    arguments = [
        "restore",
        str(degraded),
        "--model",
        model,
        "--precision",
        "fp32",
        "--seed",
        "3",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(app, [*arguments, *options, "-o", str(output)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return read(output).pixels.astype(int)


def difference(name, pixels):
    """The largest in 8-bit levels, and the share of the pixels that differ."""
    apart = np.abs(pixels - read(GOLDEN / f"restored_{name}.png").pixels).max(axis=2)
    return int(apart.max()), float((apart > 0).mean())


@pytest.mark.parametrize("engine", ["torch", "onnx"])
@pytest.mark.parametrize("name", CASES)
def test_the_picture_is_the_same(name, engine, tmp_path):
    largest, share = difference(name, restored(name, tmp_path, "--engine", engine))
    assert largest <= 1
    assert share <= 1e-3  # the last bit of a float differs from processor to processor


def test_control_a_little_less_detail_shows(tmp_path):
    _, share = difference(CASES[0], restored(CASES[0], tmp_path, "--fidelity", "0.05"))
    assert share > 1e-3
