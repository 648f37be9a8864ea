"""Which engine `auto` is. Neither torch nor ONNX Runtime is imported to find out."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from pathlib import Path
from typing import Final, Literal

from ucdir.errors import ConfigError, DeviceError, WeightsError
from ucdir.extras import check_extra, is_installed
from ucdir.model.folder import read_index
from ucdir.model.onnx_folder import is_onnx

Name = Literal["torch", "onnx"]

ENGINES: Final = ("auto", "torch", "onnx")
"""Names that can be asked for."""
BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})
"""Of processors that multiply in bf16, as Linux names them."""
GPU_FILES: Final = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""What drivers of GPUs make on Linux: NVIDIA's, the one of Windows' subsystem, and AMD's."""


def choose_engine(
    folder: Path | None = None, device: str = "auto", precision: str = "auto", engine: str = "auto"
) -> Name:
    """The engine that runs a model, by its name.

    `auto` is `onnx` for folders in ONNX form. For others it is `torch` where only that can do what is asked (another
    device than the CPU, bf16, the authors' networks), or where it is installed and faster: with a GPU, or in bf16.

    Args:
        folder: of the model; None: one in its usual form.
        device: as in `load_engine`.
        precision: as in `load_engine`.
        engine: a name in `ENGINES`.

    Raises:
        ConfigError: there is no such engine.
        DeviceError: ONNX Runtime is to run on another device than the CPU.
        WeightsError: the engine does not run such a folder; or it is damaged.
        ExtraError: torch is needed, and is not installed.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r:.80} is unknown; choose one of {', '.join(ENGINES)}.")
    in_onnx = folder is not None and is_onnx(folder)
    if in_onnx and engine == "torch":
        raise WeightsError(f"{folder}: is a model in ONNX form; choose the engine onnx.")
    if in_onnx or engine == "onnx":
        if _is_other(device):
            raise DeviceError(
                f"device {device!r:.80}: the engine onnx is for CPUs; choose cpu, or the engine torch."
            )
        return "onnx"
    if needed_by := _needs_torch(folder, device, precision, engine):
        check_extra("torch", needed_by)
        return "torch"
    if precision == "fp16" or not is_installed("torch"):
        return "onnx"
    fast = ("auto" in split_devices(device) and has_gpu()) or (precision == "auto" and has_bf16())
    return "torch" if fast else "onnx"


def _needs_torch(folder: Path | None, device: str, precision: str, engine: str) -> str:
    """What is asked for that only torch does, or nothing."""
    if engine == "torch":
        return "the engine torch"
    if _is_other(device):
        return f"device {device!r:.80}"
    if precision == "bf16":
        return "precision 'bf16'"
    if folder is not None and read_index(folder)[0]:
        return f"{folder}: the authors' networks"
    return ""


def split_devices(device: str) -> list[str]:
    """The names of devices that share the work.

    Example:
        >>> split_devices("cuda:0,cuda:1")
        ['cuda:0', 'cuda:1']

    Raises:
        ConfigError: they are of several kinds, whose results differ by rounding.
    """
    names = [name.strip() for name in str(device).split(",")]
    if len({name.partition(":")[0] for name in names}) > 1:
        raise ConfigError(
            f"device {device!r:.80}: results of several kinds of device differ; name GPUs only, or the CPU."
        )
    return names


def _is_other(device: str) -> bool:
    """Whether it is no CPU, as far as that is said."""
    return any(name not in ("auto", "cpu") for name in split_devices(device))


def has_gpu() -> bool:
    """Whether there seems to be a GPU that torch can use: by its driver. Torch itself has the last word."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        try:
            ctypes.CDLL("nvcuda.dll")
        except OSError:
            return False
        return True
    return any(Path(file).exists() for file in GPU_FILES)


def has_bf16(file: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies in bf16; known on Linux only."""
    try:
        found = re.search(
            r"^flags\s*:(.*)$", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
        )
    except OSError:
        return False
    return found is not None and not BF16_FLAGS.isdisjoint(found[1].split())
