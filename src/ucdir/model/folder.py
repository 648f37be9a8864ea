"""Layout and JSON files of a model folder, as users of diffusers know them; read and written without torch.

model_index.json                   class of each part, and what `PipelineConfig` holds beside the schedule
predictor/config.json              settings of u_φ,  diffusion_pytorch_model.safetensors beside it
diffusion_model/config.json        settings of f_θ,  diffusion_pytorch_model.safetensors beside it
scheduler/scheduler_config.json    noise schedule, as a scheduler of diffusers
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, model_validator

from ucdir.config.pipeline import Beta, Betas, PipelineConfig, Timesteps
from ucdir.errors import OutputError, WeightsError
from ucdir.images.paths import shown
from ucdir.limits import MAX_CHECKPOINT_BYTES, MAX_CONFIG_BYTES, MAX_SAFETENSORS_HEADER_BYTES
from ucdir.section import Section, problems

INDEX_FILE = "model_index.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
SCHEDULER_FILE = Path("scheduler", "scheduler_config.json")

PIPELINE = "RestorationPipeline"
NETWORKS = {
    "predictor": ["ucdir.model.predictor", "InitialPredictor"],
    "diffusion_model": ["ucdir.model.diffusion_model", "DiffusionModel"],
}
"""Module and class of each network, as the index names them; or"""
RELEASE = {
    "predictor": ["ucdir.model.release", "ReleasePredictor"],
    "diffusion_model": ["ucdir.model.release", "ReleaseDiffusionModel"],
}
"""the authors' networks. No other classes are accepted, and none is imported by its name."""

SCHEDULERS: dict[str, tuple[str, dict[str, object]]] = {
    "ddpm": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": True}),
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm_solver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
}
"""The scheduler of diffusers that stands for each sampler, and its settings."""
SETTINGS: dict[str, object] = {
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",  # uniform, from the last step on: T, T - T/n, …
}
"""Settings of every scheduler."""
FIXED: dict[str, object] = {
    **dict.fromkeys(
        (
            "clip_sample", "thresholding", "rescale_betas_zero_snr", "euler_at_final", "use_karras_sigmas",
            "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting",
        ),
        False,
    ),
    "interpolation_type": "linear", "timestep_type": "discrete", "final_sigmas_type": "zero", "sigma_min": None,
    "sigma_max": None, "solver_type": "midpoint", "lambda_min_clipped": -math.inf,
}  # fmt: skip
"""Settings of schedulers that change the samples, and the one value of each that our samplers know."""

# Folders of earlier versions
OLD_PIPELINE = "Pipeline"
OLD_MODULES = {"ucdir.model.initial_predictor": "ucdir.model.predictor"}
OLD_KEYS = {
    "default_steps": "steps", "start": "start_fraction", "noise": "noise_scale", "residual_deviation": "sigma_data"
}  # fmt: skip

COPY_AGAIN = "copy the model's folder again."
FOREIGN = "open the folder with `ucdir.diffusers.RestorationPipeline.from_pretrained`."

S = TypeVar("S", bound=Section)


class SchedulerConfig(Section):
    """The noise schedule in a scheduler's file."""

    model_config = ConfigDict(extra="ignore")

    num_train_timesteps: Timesteps
    """T."""
    beta_start: Beta
    """β of the first step."""
    beta_end: Beta
    """β of the last step."""
    trained_betas: Betas | None = None
    """β of every step, in place of the linear ones."""

    @model_validator(mode="after")
    def _consistent(self) -> SchedulerConfig:
        if self.trained_betas is not None and len(self.trained_betas) != self.num_train_timesteps:
            raise ValueError(
                f"it holds {len(self.trained_betas)} trained_betas for {self.num_train_timesteps} num_train_timesteps"
            )
        if self.trained_betas is None and self.beta_start > self.beta_end:
            raise ValueError(f"beta_start {self.beta_start} is above beta_end {self.beta_end}")
        return self


# ------------------------------------------------------------------------------------------------------ reading


def read_settings(folder: Path) -> tuple[bool, str, dict[str, Any]]:
    """Whether a folder holds the authors' networks, the class of its scheduler, and the other settings of its index.

    Raises:
        WeightsError: it is not a model of ucdir, or is damaged.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: there is no such folder; name a folder that a model was saved to.")
    settings = {OLD_KEYS.get(key, key): value for key, value in read_json(folder / INDEX_FILE).items()}
    if settings.get("_class_name") not in (PIPELINE, OLD_PIPELINE):
        raise WeightsError(
            f"{folder}: is not a model of ucdir ({INDEX_FILE} names {settings.get('_class_name')!r:.80})."
        )
    found = {name: _renamed(settings.pop(name, None)) for name in NETWORKS}
    release = found["predictor"] == RELEASE["predictor"]
    for name, expected in (RELEASE if release else NETWORKS).items():
        if found[name] != expected:
            raise WeightsError(
                f"{folder}: {INDEX_FILE} names {found[name]!r:.80} as {name}, expected {expected[1]}."
            )
    match settings.pop("scheduler", None):
        case ["diffusers", str(scheduler)]:
            return release, scheduler, settings
        case other:
            raise WeightsError(
                f"{folder}: {INDEX_FILE} names {other!r:.80} as scheduler, expected one of diffusers."
            )


def read_index(folder: Path) -> tuple[bool, PipelineConfig]:
    """Whether a folder holds the authors' networks, and its `PipelineConfig`.

    Raises:
        WeightsError: it is not a model of ucdir, is damaged, or has a scheduler that stands for no sampler.
    """
    release, scheduler, settings = read_settings(folder)
    if "sampler" not in settings:  # as the adapter of diffusers writes it, and earlier versions did
        standing = [name for name, (kind, _) in SCHEDULERS.items() if kind == scheduler]
        settings["sampler"] = standing[-1] if standing else "ddim"
    sampler = settings["sampler"]
    if not isinstance(sampler, str) or sampler not in SCHEDULERS:
        raise WeightsError(
            f"{folder / INDEX_FILE}: sampler {sampler!r:.80} is unknown; choose one of {', '.join(SCHEDULERS)}."
        )
    kind, own = SCHEDULERS[sampler]
    if scheduler != kind:
        raise WeightsError(
            f"{folder}: {INDEX_FILE} names {scheduler!r:.80} as scheduler, which is none of our samplers; {FOREIGN}"
        )
    schedule = _read_schedule(folder / SCHEDULER_FILE, own)
    return release, validated(PipelineConfig, {**settings, **schedule}, folder / INDEX_FILE)


def _renamed(entry: object) -> object:
    """The index's entry for a network, its module by its present name."""
    match entry:
        case [str(module), name]:
            return [OLD_MODULES.get(module, module), name]
        case _:
            return entry


def _read_schedule(file: Path, own: Mapping[str, object]) -> dict[str, Any]:
    """The noise schedule, as `PipelineConfig` holds it, from a scheduler's file whose settings are the sampler's."""
    values = read_json(file)
    for key, expected in {**SETTINGS, **FIXED, **own}.items():
        listed = key == "beta_schedule" and values.get("trained_betas") is not None
        if values.get(key, expected) != expected and not listed:
            raise WeightsError(
                f"{file}: {key} is {values[key]!r:.80}, and our samplers know only {expected!r}; {FOREIGN}"
            )
    schedule = validated(SchedulerConfig, values, file)
    return {
        "timesteps": schedule.num_train_timesteps, "betas": schedule.trained_betas,
        "beta_start": schedule.beta_start, "beta_end": schedule.beta_end,
    }  # fmt: skip


def read_network_config(file: Path, section: type[S]) -> S:
    """Settings of a network.

    Raises:
        WeightsError: naming the file and every key that is wrong.
    """
    settings = {OLD_KEYS.get(key, key): value for key, value in read_json(file).items()}
    if "sigma_data" in section.model_fields:  # folders written before this setting existed lack it
        settings.setdefault("sigma_data", 0.0)
    return validated(section, settings, file)


def validated(section: type[S], values: Mapping[str, Any], file: Path) -> S:
    """A section from what a JSON file holds; keys that begin with an underscore are diffusers' own.

    Raises:
        WeightsError: naming the file and what is wrong in it.
    """
    own = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if not k.startswith("_")}
    try:
        return section.model_validate(own, strict=True)
    except ValidationError as error:
        raise WeightsError(f"{file}: {problems(error)}; {COPY_AGAIN}") from None


def read_json(file: Path) -> dict[str, Any]:
    """Keys and values of a small JSON file.

    Raises:
        WeightsError: it is missing, is too large, or holds something else.
    """
    try:
        if not file.is_file() and file.exists():  # a pipe would be waited for
            raise WeightsError(f"{file}: is not a file; {COPY_AGAIN}")
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise WeightsError(
                f"{file}: is larger than {MAX_CONFIG_BYTES} bytes, so it is not a configuration."
            )
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{file}: is missing; the model's folder is incomplete, copy it again.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{file}: cannot be read ({error}); {COPY_AGAIN}") from None
    if not isinstance(values, dict):
        raise WeightsError(f"{file}: contains no keys and values; {COPY_AGAIN}")
    return values


def read_header(file: Path) -> dict[str, Any]:
    """Name -> {dtype, shape, data_offsets} of the tensors in a safetensors file of the length that its header states.

    Raises:
        WeightsError: it is missing, is cut short, or is something else.
    """
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise WeightsError(f"{file}: is not a file; {COPY_AGAIN}")
        with file.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            if not 0 <= length <= min(size - 8, MAX_SAFETENSORS_HEADER_BYTES) or size > MAX_CHECKPOINT_BYTES:
                raise WeightsError(f"{file}: is not a safetensors file, or is cut short; copy it again.")
            header: dict[str, Any] = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        spans = [map(index, entry["data_offsets"]) for entry in header.values()]
        length_of_data = max(end for _, end in spans)
    except FileNotFoundError:
        raise WeightsError(f"{file}: is missing; the model's folder is incomplete, copy it again.") from None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise WeightsError(f"{file}: is not a safetensors file ({error}); copy it again.") from None
    if size != 8 + length + length_of_data:
        fault = "is cut short" if size < 8 + length + length_of_data else "has bytes left over"
        raise WeightsError(
            f"{file}: {size} bytes, expected {8 + length + length_of_data}; it {fault}, copy it again."
        )
    return header


# ------------------------------------------------------------------------------------------------------ writing


def check_free(folder: Path) -> None:
    """Refuse to write a model where something is: only a new folder, or an empty one, is free.

    Raises:
        OutputError: it is not.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{shown(folder)}: exists already; name a new folder.")


def scheduler_settings(config: PipelineConfig) -> tuple[str, dict[str, object]]:
    """The scheduler of diffusers that stands for a sampler: its class, and its settings."""
    kind, own = SCHEDULERS[config.sampler]
    return kind, {
        **SETTINGS, **own,
        "num_train_timesteps": config.timesteps if config.betas is None else len(config.betas),
        "beta_start": config.beta_start, "beta_end": config.beta_end, "trained_betas": config.betas,
    }  # fmt: skip


def write_index(
    folder: Path,
    networks: Mapping[str, list[str]],
    config: PipelineConfig,
    scheduler: tuple[str, Mapping[str, object]] | None = None,
) -> None:
    """Write the index and the scheduler's file.

    Args:
        folder: where to.
        networks: `NETWORKS` or `RELEASE`.
        config: what the folder says beside the networks.
        scheduler: class and settings of any scheduler of diffusers, in place of the sampler and schedule of `config`.
    """
    kind, settings = scheduler or scheduler_settings(config)
    left_out = {"timesteps", "beta_start", "beta_end", "betas", *(["sampler"] if scheduler else [])}
    index = {"_class_name": PIPELINE, **networks, "scheduler": ["diffusers", kind]}
    write_json(folder / INDEX_FILE, {**index, **config.model_dump(exclude=left_out)})
    write_json(folder / SCHEDULER_FILE, {"_class_name": kind, **settings})


def write_json(file: Path, values: Mapping[str, object]) -> None:
    """Write keys and values, one a line, making the file's folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
