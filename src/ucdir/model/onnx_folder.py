"""A model folder in ONNX form: `predictor.onnx`, `diffusion_model.onnx`, and `ucdir.json`; docs/export.md describes it.

Models in the usual form are made ONNX in memory. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import Field
from safetensors import SafetensorError, safe_open

from ucdir.config import DiffusionModelConfig, PredictorConfig
from ucdir.config.pipeline import PipelineConfig
from ucdir.diffusion.residual import PREDICTIONS
from ucdir.diffusion.samplers import SAMPLERS
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.errors import ConfigError, WeightsError, reason
from ucdir.limits import MAX_ONNX_BYTES
from ucdir.model import folder as files
from ucdir.model.reach import multiple_of, receptive_field
from ucdir.section import Section
from ucdir.tasks.scalars import SCALARS

MANIFEST: Final = "ucdir.json"
FORMAT: Final = 1
"""Version of the manifest; another one is refused."""
NAMES: Final = tuple(files.NETWORKS)


class ScalarEntry(Section):
    """An auxiliary scalar in the manifest."""

    unit: str
    """Of its values."""
    range: tuple[float, float]
    """Smallest and largest value."""
    default: float | None = None
    """Value where nothing is known; none is NaN."""


class Manifest(Section):
    """`ucdir.json`: what a caller of the networks must know."""

    format: Literal[1] = FORMAT
    """Version of this file."""
    precision: Literal["fp32", "fp16"]
    """Of the networks' arithmetic; their inputs and outputs are float32."""
    receptive_field: int = Field(ge=0, le=1 << 20)
    """Radius in pixels that each pixel of a result depends on."""
    multiple_of: int = Field(ge=1, le=1 << 10)
    """Heights and widths are multiples of it."""
    prediction: str
    """What the diffusion model gives: noise, or residual."""
    scalars: dict[str, ScalarEntry]
    """Inputs of the diffusion model beside images and noise_level, each [batch]."""
    noise_levels: tuple[float, ...]
    """√γ at the beginning of each sampling step by default, then 1."""
    bytes_per_pixel: int = Field(ge=1, le=1 << 20)
    """Memory of a forward pass for each pixel of a patch, roughly."""
    pipeline: PipelineConfig
    """Task, sampler, noise schedule and residual scale."""


class OnnxModel(NamedTuple):
    """Two networks as the bytes of ONNX files, and what their caller must know."""

    predictor: bytes
    diffusion_model: bytes
    manifest: Manifest


def is_onnx(folder: Path) -> bool:
    """Whether a folder is a model in ONNX form."""
    return (folder / MANIFEST).exists()


def read_config(folder: Path) -> PipelineConfig:
    """What a model folder of either form says beside the networks.

    Raises:
        WeightsError: it is no model, or is damaged.
    """
    return read_manifest(folder).pipeline if is_onnx(folder) else files.read_index(folder)[1]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model in ONNX form.

    Raises:
        WeightsError: it is damaged, or of another version.
    """
    file = folder / MANIFEST
    values = files.read_json(file)
    if values.get("format") != FORMAT:
        raise WeightsError(
            f"{file}: its format is {values.get('format')!r:.80}, and this version of ucdir reads {FORMAT}; export the "
            "model again."
        )
    manifest = files.validated(Manifest, _tuples(values), file)
    names: list[tuple[str, str, Any]] = [
        ("sampler", manifest.pipeline.sampler, SAMPLERS), ("prediction", manifest.prediction, PREDICTIONS),
        *(("scalar", name, SCALARS) for name in manifest.scalars),
    ]  # fmt: skip
    for key, name, table in names:
        if name not in table:
            raise WeightsError(f"{file}: {key} {name!r:.80} is unknown; export the model again.")
    return manifest


def _tuples(value: Any) -> Any:
    """Lists as tuples, in all depths, as strict settings hold them."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def read_onnx(folder: Path) -> OnnxModel:
    """The networks of a model in ONNX form.

    Raises:
        WeightsError: it is damaged.
    """
    manifest = read_manifest(folder)
    predictor, diffusion_model = (_bytes_of(folder / f"{name}.onnx") for name in NAMES)
    return OnnxModel(predictor, diffusion_model, manifest)


def _bytes_of(file: Path) -> bytes:
    try:
        if not file.is_file() and file.exists():
            raise WeightsError(f"{file}: is not a file; {files.COPY_AGAIN}")
        if file.stat().st_size > MAX_ONNX_BYTES:
            raise WeightsError(
                f"{file}: is larger than {MAX_ONNX_BYTES:,} bytes, so it is not one of our networks."
            )
        return file.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{file}: is missing; the model's folder is incomplete, copy it again.") from None
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror}); {files.COPY_AGAIN}") from None


# -------------------------------------------------------------------------------------------------- from safetensors


def make_onnx(folder: Path, precision: str = "fp32") -> OnnxModel:
    """The networks of a model folder in its usual form, as ONNX.

    Args:
        folder: of a model.
        precision: a name in `onnx_graph.PRECISIONS`.

    Raises:
        WeightsError: it is no model, is damaged, or holds the authors' networks.
        ConfigError: there is no such precision.
    """
    from ucdir.model.onnx_graph import PRECISIONS, diffusion_model_graph, predictor_graph

    if precision not in PRECISIONS:
        raise ConfigError(
            f"precision {precision!r:.80} is none of ONNX; choose one of {', '.join(PRECISIONS)}."
        )
    release, pipeline = files.read_index(folder)
    if release:
        raise WeightsError(
            f"{folder}: holds the authors' networks, which have no ONNX form here; use --engine torch."
        )
    first, second = (folder / name / files.CONFIG_FILE for name in NAMES)
    predictor = files.read_network_config(first, PredictorConfig)
    diffusion_model = files.read_network_config(second, DiffusionModelConfig)
    networks: list[bytes] = []
    makers: tuple[tuple[str, Callable[[dict[str, Any]], bytes]], ...] = (
        ("predictor", lambda weights: predictor_graph(predictor, weights, precision)),
        ("diffusion_model", lambda weights: diffusion_model_graph(diffusion_model, weights, precision)),
    )
    for name, make in makers:
        try:
            networks.append(make(_weights(folder / name / files.WEIGHTS_FILE)))
        except WeightsError as error:
            if str(error).startswith(str(folder)):
                raise
            raise WeightsError(f"{folder / name}: {error}; {files.COPY_AGAIN}") from None
    return OnnxModel(networks[0], networks[1], _manifest(pipeline, predictor, diffusion_model, precision))


def _weights(file: Path) -> dict[str, Any]:
    files.read_header(file)
    try:
        with safe_open(file, framework="numpy") as tensors:
            names = tensors.keys()
            return {name: tensors.get_tensor(name) for name in names}
    except (OSError, SafetensorError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{file}: is damaged ({reason(error)}); copy it again.") from None


def _manifest(
    pipeline: PipelineConfig,
    predictor: PredictorConfig,
    diffusion_model: DiffusionModelConfig,
    precision: Any,
) -> Manifest:
    networks = predictor, diffusion_model
    return Manifest(
        precision=precision,
        receptive_field=max(map(receptive_field, networks)),
        multiple_of=math.lcm(*map(multiple_of, networks)),
        prediction=diffusion_model.prediction,
        scalars={
            name: ScalarEntry(
                unit=scalar.unit,
                range=scalar.range,
                default=None if math.isnan(scalar.default) else scalar.default,
            )
            for name, scalar in ((name, SCALARS[name]) for name in diffusion_model.scalars)
        },
        noise_levels=tuple(
            NoiseSchedule.of(pipeline).sampling_levels(
                pipeline.steps, pipeline.start_fraction, pipeline.spacing
            )
            if pipeline.start_fraction
            else (1.0,)
        ),
        bytes_per_pixel=max(map(bytes_per_pixel, networks)),
        pipeline=pipeline,
    )


FEATURE_MAPS: Final = 9
"""Feature maps of the finest level, in float32, that a forward pass of ONNX Runtime takes the memory of."""
IMAGES_BYTES: Final = 120
"""What it takes beside them for each pixel of the image."""


def bytes_per_pixel(config: PredictorConfig) -> int:
    """Memory of a forward pass for each pixel: measured, not exact."""
    return round(IMAGES_BYTES + FEATURE_MAPS * 4 * config.channels / config.unshuffle**2)
