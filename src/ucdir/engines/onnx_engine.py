"""The engine of ONNX Runtime: CPUs, without torch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ucdir.engines.engine import Planes
from ucdir.errors import WeightsError, reason
from ucdir.memory import MOUNTED, SELF, control_groups
from ucdir.model.onnx_folder import Manifest, OnnxModel

IMAGES: Final = ("noisy", "degraded", "guidance")


class OnnxEngine:
    """An `Engine` of two networks in ONNX Runtime, on the CPU.

    Attributes:
        manifest: what is known of the networks.
    """

    device: Final = "cpu"

    def __init__(self, model: OnnxModel, folder: Path) -> None:
        """Open the networks; `folder` is for messages.

        Raises:
            WeightsError: ONNX Runtime does not take them, or they are other networks than the manifest says.
        """
        self.manifest: Manifest = model.manifest
        self.folder = folder
        levels = ("noise_level", *self.manifest.scalars)
        self.predictor = self._session(model.predictor, {"degraded"}, folder / "predictor")
        self.diffusion_model = self._session(
            model.diffusion_model, {*IMAGES, *levels}, folder / "diffusion_model"
        )

    def _session(self, model: bytes, inputs: set[str], name: Path) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors are raised, and told in one sentence
        options.intra_op_num_threads = threads()
        try:
            # from memory, so that a network cannot name other files for its weights
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            found = {one.name for one in session.get_inputs()}, [one.name for one in session.get_outputs()]
        except Exception as error:  # noqa: BLE001 (its exceptions have no common base)
            if is_out_of_memory(error):
                raise MemoryError(reason(error)) from None
            raise WeightsError(
                f"{name}: ONNX Runtime does not take this network ({reason(error)}); export the model again."
            ) from None
        if found != (inputs, ["output"]):
            raise WeightsError(
                f"{name}: its inputs are {', '.join(sorted(found[0])):.80}, expected {', '.join(sorted(inputs))}; "
                "export the model again."
            )
        return session

    @property
    def receptive_field(self) -> int:
        """See `Engine.receptive_field`."""
        return self.manifest.receptive_field

    @property
    def multiple_of(self) -> int:
        """See `Engine.multiple_of`."""
        return self.manifest.multiple_of

    @property
    def bytes_per_pixel(self) -> int:
        """See `Engine.bytes_per_pixel`."""
        return self.manifest.bytes_per_pixel

    @property
    def scalars(self) -> tuple[str, ...]:
        """See `Engine.scalars`."""
        return tuple(self.manifest.scalars)

    @property
    def prediction(self) -> str:
        """See `Engine.prediction`."""
        return self.manifest.prediction

    def session(self, forward_passes: int) -> AbstractContextManager[None]:
        """Nothing has to be prepared."""
        return nullcontext()

    def predict(self, degraded: Planes) -> Planes:
        """See `Engine.predict`."""
        return self._run(self.predictor, {"degraded": degraded})

    def denoise(
        self,
        noisy: Planes,
        degraded: Planes,
        guidance: Planes,
        *,
        level: float,
        scalars: Mapping[str, NDArray[np.float32]],
    ) -> Planes:
        """See `Engine.denoise`."""
        batch = len(noisy)
        unknown = dict.fromkeys(self.scalars, np.full(batch, np.nan, np.float32))
        values = {"noise_level": np.full(batch, level, np.float32), **unknown, **scalars}
        images = dict(zip(IMAGES, (noisy, degraded, guidance), strict=True))
        return self._run(self.diffusion_model, {**images, **values})

    def _run(self, session: Any, inputs: Mapping[str, NDArray[np.float32]]) -> Planes:
        options = onnxruntime.RunOptions()
        # or the memory of the largest patch would be kept
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        given = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in inputs.items()}
        try:
            result: Planes = session.run(["output"], given, options)[0]
        except Exception as error:  # noqa: BLE001
            if not is_out_of_memory(error):
                raise WeightsError(
                    f"{self.folder}: ONNX Runtime cannot run its networks ({reason(error)}); export the model again."
                ) from None
            message = reason(error)
        else:
            if result.shape != inputs["degraded"].shape or result.dtype != np.float32:
                raise WeightsError(
                    f"{self.folder}: its networks give {list(result.shape)} of images "
                    f"{list(inputs['degraded'].shape)}; export the model again."
                )
            return result
        # outside of `except`, or the traceback would hold the failed pass's arrays
        raise MemoryError(message)


def threads() -> int:
    """Threads of a network: OMP_NUM_THREADS, as in the other engine, or one for each CPU of this process.

    Those are the ones that it may run on, or fewer where its control groups (a container's `--cpus`) allow less time.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([there, *map(math.ceil, cpu_quotas())]))


def cpu_quotas(membership: Path = SELF, mounted: Path = MOUNTED) -> Iterator[float]:
    """CPUs' worth of time that each control group that this process is in may take, where it is limited."""
    for version, group in control_groups("cpu", membership, mounted):
        files = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        try:
            quota, period = map(int, " ".join((group / file).read_text() for file in files).split())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if quota > 0 and period > 0:
            yield quota / period


def is_out_of_memory(error: Exception) -> bool:
    """Whether ONNX Runtime could not allocate what it needed."""
    words = ("allocate memory", "bad_alloc", "bad alloc", "out of memory", "AllocateRawInternal")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)
