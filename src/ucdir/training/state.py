"""The checkpoint of a training run: one file, replaced atomically, with everything that resuming needs.

All randomness is a function of (seed, step, place), so weights, averages, the optimizer's moments and the step are the
whole state. The file is in the safetensors format: tensors and text, no code.

    weights.<name>   average.<name>   exp_avg.<name>   exp_avg_sq.<name>      float32, for every parameter
    metadata: step, config (JSON), late (JSON: optimizer steps of parameters that had fewer than `step`),
              data (how many images were trained on, in words)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ucdir.config import Config, parse_config
from ucdir.config.experiment import RENAMED
from ucdir.errors import ConfigError, OutputError, WeightsError, reason
from ucdir.images.atomic import remove_stale, sync, temporary_folder
from ucdir.limits import MAX_CHECKPOINT_BYTES, MAX_SAFETENSORS_HEADER_BYTES
from ucdir.tasks import TASKS
from ucdir.training.averaging import WeightAverage

FILE_NAME = "checkpoint.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")
PARTS = ("weights", "average", *MOMENTS)


@dataclass(frozen=True)
class Metadata:
    """Metadata of a checkpoint."""

    step: int
    config: Config
    late: Mapping[str, int]
    data: str = ""
    """How many images were trained on, in words; empty: an earlier version wrote it."""


# ------------------------------------------------------------------------------------------------------ write


def save_state(
    folder: Path,
    model: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.AdamW,
    *,
    step: int,
    config: Config,
    data: str = "",
) -> Path:
    """Write the state after `step` optimizer steps; a kill at any moment leaves either the old file or the new one.

    Raises:
        OutputError: it cannot be written; the old file is kept.
    """
    tensors: dict[str, Tensor] = {}
    late: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter, {})
        tensors[f"weights.{name}"] = parameter.detach()
        tensors[f"average.{name}"] = average.weights[name]
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = state.get(moment, torch.zeros_like(parameter))
        own_step = int(state["step"]) if state else 0
        if own_step != step:
            late[name] = own_step
    metadata = {"step": str(step), "config": config.model_dump_json(), "data": data}
    if late:
        metadata["late"] = json.dumps(late)
    path = folder / FILE_NAME
    try:
        _remove_left_behind(folder)
        with temporary_folder(folder) as scratch:
            unfinished = scratch / FILE_NAME
            save_file(
                {name: t.cpu().contiguous() for name, t in tensors.items()}, unfinished, metadata=metadata
            )
            sync(unfinished)
            unfinished.replace(path)
        sync(folder)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{path}: the checkpoint cannot be written ({error}); the one before it is kept. "
            "Make room, then run the same command to resume from it."
        ) from None
    return path


def _remove_left_behind(folder: Path) -> None:
    """Remove what killed runs left, of earlier versions too."""
    remove_stale(folder)
    for leftover in folder.glob(f"{FILE_NAME}.*.part"):
        leftover.unlink()


# ------------------------------------------------------------------------------------------------------- read


def read_metadata(path: Path) -> Metadata:
    """Step and configuration of a checkpoint; its tensors are not read.

    Raises:
        WeightsError: the file is missing, damaged, too large, or not a checkpoint.
    """
    try:
        _check_size(path)
        with safe_open(path, framework="pt") as file:
            text: Mapping[str, str] = file.metadata() or {}
        if not {"step", "config"} <= text.keys():
            raise ValueError("its metadata contain no step and no configuration")
        step, late = int(text["step"]), json.loads(text.get("late", "{}"))
        if (
            not 0 <= step < 2**31
            or not isinstance(late, dict)
            or not all(isinstance(n, int) and 0 <= n <= step for n in late.values())
        ):
            raise WeightsError(f"{path}: is damaged (step {step}, late {str(late)[:80]}).")
        return Metadata(step, _stored_config(json.loads(text["config"])), late, text.get("data", ""))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: is not a training's checkpoint, or is damaged ({reason(error)})."
        ) from None


def _stored_config(values: Any) -> Config:
    """The configuration of a checkpoint, which an earlier version may have written."""
    if isinstance(values, dict):
        for old, new in RENAMED.items():
            *path, key = old.split(".")
            section: Any = values
            for name in path:
                section = section.get(name) if isinstance(section, dict) else None
            if isinstance(section, dict) and key in section:
                section[new.rpartition(".")[2]] = section.pop(key)
        training = values.get("training")
        if isinstance(training, dict) and training.get("objective") == "few_steps":
            training["objective"] = "sampler_aware"
        for name in {kind.section for kind in TASKS.values()}:
            section, generator = values.get(name), type(Config.model_fields[name].default)
            if isinstance(section, dict):  # a share added since then is 0
                shares = [key for key in generator.model_fields if key.endswith("_probability")]
                values[name] = dict.fromkeys(shares, 0.0) | section
        values = {"preset": "paper", **values}  # a setting added since then is off, as in the paper
    return parse_config(values, source="its configuration")


def read_tensors(path: Path, model: nn.Module, parts: Sequence[str] = PARTS) -> dict[str, Tensor]:
    """The tensors of some parts by name, on the CPU, after checking that the whole file fits this model.

    Raises:
        WeightsError: the file is damaged, or is of another model.
    """
    wanted = {f"{part}.{n}": list(p.shape) for part in PARTS for n, p in model.named_parameters()}
    try:
        _check_size(path)
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            _check_model(path, {name: s.get_shape() for name, s in slices.items()}, wanted)
            odd = sorted(name for name, s in slices.items() if s.get_dtype() != "F32")
            tensors = {} if odd else {n: file.get_tensor(n) for n in wanted if n.split(".", 1)[0] in parts}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: is not a training's checkpoint, or is damaged ({error}).") from None
    odd += sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    if odd:
        raise WeightsError(f"{path}: {odd[0]} does not hold finite float32 numbers; the file cannot be used.")
    return tensors


def load_state(path: Path, model: nn.Module, average: WeightAverage, optimizer: torch.optim.AdamW) -> int:
    """Load what `save_state` wrote; returns the number of steps done.

    Raises:
        WeightsError: the file is damaged, or is of another model; then nothing has been changed.
    """
    found = read_metadata(path)
    tensors = read_tensors(path, model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"weights.{name}"])
            own_step = found.late.get(name, found.step)
            if own_step:  # moments in the memory layout of their parameter, or sums would round differently
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(own_step)),
                    **{m: torch.empty_like(parameter).copy_(tensors[f"{m}.{name}"]) for m in MOMENTS},
                }
    average.load({name: tensors[f"average.{name}"] for name in average.weights})
    return found.step


def _check_size(path: Path) -> None:
    """Refuse a file by its size and by the length its header claims, before any of it is parsed."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if size > MAX_CHECKPOINT_BYTES or header > MAX_SAFETENSORS_HEADER_BYTES:
        raise WeightsError(
            f"{path}: is not a checkpoint, or is too large ({size} bytes, {header} of them its header; at most "
            f"{MAX_CHECKPOINT_BYTES} and {MAX_SAFETENSORS_HEADER_BYTES} are read)."
        )


def _check_model(path: Path, found: Mapping[str, Sequence[int]], wanted: Mapping[str, Sequence[int]]) -> None:
    problems = [f"{n} is missing" for n in wanted.keys() - found.keys()]
    problems += [f"{n[:80]!r} is unknown" for n in found.keys() - wanted.keys()]
    problems += [
        f"{n} is {list(found[n])} and should be {list(wanted[n])}"
        for n in wanted.keys() & found.keys()
        if list(found[n]) != list(wanted[n])
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(
            f"{path}: holds another model than the configuration describes "
            f"({'; '.join(sorted(problems)[:3])}{more}); use another output folder."
        )


# ----------------------------------------------------------------------------------------------------- resume


FREE = {
    "data.photos", "data.degraded", "data.clean", "data.pairs", "data.frames", "data.cache",
    "training.steps", "training.decay_steps", "training.checkpoint_every", "training.sample_every",
    "training.workers", "training.mixed_precision", "training.compile",
}  # fmt: skip
"""Settings that may change when training is resumed, as may those of `sampling` that the objective does not use."""
SAMPLING_TRAINED: dict[str, tuple[str, ...]] = {
    "noise": (),
    "predictor": (),
    "sampler_aware": ("sampling.",),
    "energy_score": ("sampling.",),
    "regression": ("sampling.start_fraction",),  # the noise level that f_θ is given
}
"""Prefixes of the sampling settings that each objective depends on."""


def check_same_experiment(path: Path, stored: Config, wanted: Config) -> None:
    """Refuse to resume from a checkpoint that another configuration made.

    Raises:
        ConfigError: naming what differs.
    """
    a, b = flat(stored.model_dump(mode="json")), flat(wanted.model_dump(mode="json"))
    trained = SAMPLING_TRAINED.get(stored.training.objective, ("sampling.",))
    if stored.diffusion.path == "straight":  # which begins there
        trained = (*trained, "sampling.start_fraction")
    free = FREE | {k for k in a if k.startswith("sampling.") and not k.startswith(trained)}
    changed = [k for k in sorted(a.keys() - free) if a[k] != b[k]]
    if changed:
        listed = "; ".join(f"{key} was {a[key]!r} and is now {b[key]!r}" for key in changed)
        raise ConfigError(f"{path}: was made by another configuration ({listed}). Use another output folder.")


def flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Settings by their keys with dots."""
    found: dict[str, object] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
