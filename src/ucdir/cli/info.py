"""`ucdir info`: models, devices and versions."""

from __future__ import annotations

import typer


def info() -> None:
    """Show models, devices and versions."""
    import platform
    from importlib.metadata import version

    import torch

    from ucdir.engines.devices import available, choose_device, choose_precision
    from ucdir.model.pretrained import WEIGHTS, list_models

    typer.echo(f"ucdir {version('ucdir')}, Python {platform.python_version()}, {platform.machine()}")
    typer.echo(
        "  ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "accelerate", "pyvips"))
    )
    typer.echo(
        f"devices: {', '.join(available())} (auto: {available()[0]}, {torch.get_num_threads()} CPU threads)"
    )
    chosen = choose_precision("auto", choose_device("auto"))
    typer.echo(f"precision: {str(chosen).removeprefix('torch.')} (auto)")
    typer.echo("models:" if list_models() else "models: none came with this package")
    for name in list_models():
        size_bytes = sum(f.stat().st_size for f in (WEIGHTS / name).rglob("*.safetensors"))
        typer.echo(f"  {name}  {size_bytes / 1e6:.1f} MB  {WEIGHTS / name}")
