"""`ucdir export`: a model in a form for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import say
from ucdir.errors import ConfigError


def export(
    model: Annotated[
        str, typer.Argument(help="Name of a pretrained model (see ucdir info), or a folder of your own.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    format: Annotated[str, typer.Option(help="onnx.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, or fp16 for GPUs and browsers.")] = "fp32",
) -> None:
    """Write a model for ONNX Runtime: two networks, and a ucdir.json and README that say how to run them."""
    from ucdir.model.pretrained import check_own_name, model_folder
    from ucdir.workflows.export import export as export_model

    if format != "onnx":
        raise ConfigError(f"--format {format:.80} is unknown; choose onnx.")
    check_own_name(output)
    manifest = export_model(model_folder(model), output, precision=precision)
    say(f"{model} -> {output}: onnx, {manifest.precision}; ucdir restore --model {output} PHOTO")
