"""`ucdir info`: models, devices and versions."""

from __future__ import annotations

from ucdir.cli.app import say

PACKAGES = ("torch", "numpy", "pyvips", "diffusers", "accelerate")


def info() -> None:
    """Show models, devices and versions."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from ucdir.engines.devices import available, choose_device, choose_precision
    from ucdir.model.pretrained import WEIGHTS, list_models

    def found(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} not installed"

    say(f"{found('ucdir')}, Python {platform.python_version()}, {platform.machine()}")
    say("  ".join(map(found, PACKAGES)))
    say(f"devices: {', '.join(available())} (auto: {available()[0]}, {torch.get_num_threads()} CPU threads)")
    precision = choose_precision("auto", choose_device("auto"))
    say(f"precision: {str(precision).removeprefix('torch.')} (auto)")
    say("models:" if list_models() else "models: none came with this package")
    for name in list_models():
        size_bytes = sum(f.stat().st_size for f in (WEIGHTS / name).rglob("*.safetensors"))
        say(f"  {name}  {size_bytes / 1e6:.1f} MB  {WEIGHTS / name}")
