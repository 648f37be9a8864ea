"""`ucdir info`: models, engines, devices and versions."""

from __future__ import annotations

from ucdir.cli.app import say
from ucdir.extras import is_installed

PACKAGES = ("onnxruntime", "torch", "numpy", "pyvips", "diffusers", "accelerate")


def info() -> None:
    """Show models, engines, devices and versions."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from ucdir.engines import choose_engine
    from ucdir.model.pretrained import WEIGHTS, list_models

    def found(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} not installed"

    say(f"{found('ucdir')}, Python {platform.python_version()}, {platform.machine()}")
    say("  ".join(map(found, PACKAGES)))
    _say_devices()
    engine = choose_engine()
    say(f"engine: {engine} (auto), in {_precision() if engine == 'torch' else 'fp32'}")
    say("models:" if list_models() else "models: none came with this package")
    for name in list_models():
        size_bytes = sum(f.stat().st_size for f in (WEIGHTS / name).rglob("*.safetensors"))
        say(f"  {name}  {size_bytes / 1e6:.1f} MB  {WEIGHTS / name}")


def _say_devices() -> None:
    from ucdir.engines.onnx_engine import threads

    if not is_installed("torch"):
        say(f"devices: cpu ({threads()} CPU threads); GPUs need the extra torch: pip install 'ucdir[torch]'")
        return
    import torch

    from ucdir.engines.devices import available

    say(f"devices: {', '.join(available())} (auto: {available()[0]}, {torch.get_num_threads()} CPU threads)")


def _precision() -> str:
    from ucdir.engines.devices import PRECISIONS, choose_device, choose_precision

    chosen = choose_precision("auto", choose_device("auto"))
    return next(name for name, dtype in PRECISIONS.items() if dtype == chosen)
