"""From the authors' checkpoint to a model folder."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from ucdir.config.pipeline import PipelineConfig
from ucdir.errors import OutputError, WeightsError
from ucdir.limits import MAX_SAMPLING_STEPS, MAX_SCHEDULE_STEPS
from ucdir.model.release import (
    RELEASE_CHANNELS,
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
)
from ucdir.model.weights import save_model
from ucdir.pth_file import tensors_of
from ucdir.tasks import task_class

BUFFERS = frozenset(
    {
        "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
        "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
    }
)  # fmt: skip
"""What follows from β and is left out."""
LINEAR = (1e-6, 0.4, 50)
"""First and last β and number of steps of the release's test schedule, for a checkpoint that does not hold them."""
MOST_SIGNAL = 1 - 1e-6
"""γ of the last level, above which a schedule is none: it would begin with hardly any noise."""


def convert(checkpoint: Path, output: Path, *, task: str = "low_light") -> PipelineConfig:
    """Write the authors' network as a model folder: float32 weights, and the schedule that the checkpoint holds.

    Args:
        checkpoint: a `.pth` file of the release, `I…_gen_ema.pth`.
        output: folder to write; it must not exist.
        task: what the network was trained for, a name in `tasks.TASKS`.

    Raises:
        ConfigError: there is no such task.
        WeightsError: the file is not such a checkpoint.
        OutputError: the folder exists, or cannot be written.
    """
    task_class(task)
    if os.path.lexists(output):
        raise OutputError(f"{output}: exists already; name a new folder.")
    tensors = tensors_of(checkpoint)
    channels = (
        _channels(checkpoint, tensors, name)
        for name in ("predictor.conv1_1.weight", "denoise_fn.downs.0.weight")
    )
    with torch.device("meta"):  # no memory is taken before shapes are compared
        predictor = ReleasePredictor(ReleasePredictorConfig(channels=next(channels)))
        diffusion_model = ReleaseDiffusionModel(ReleaseDiffusionModelConfig(channels=next(channels)))
    known = BUFFERS | _fill(checkpoint, predictor, tensors, "predictor.")
    known |= _fill(checkpoint, diffusion_model, tensors, "denoise_fn.")
    left = sorted(tensors.keys() - known)
    if left:
        raise WeightsError(
            f"{checkpoint}: holds {left[0]!r:.80}, which the released network does not have; name its own checkpoint."
        )
    config = release_config(_betas(checkpoint, tensors), task)
    save_model(output, predictor, diffusion_model, config)
    return config


def release_config(betas: Tensor, task: str) -> PipelineConfig:
    """The released sampler: ancestral steps, one for each β [n], the residual limited to [-1,1]."""
    betas = betas.double()
    last = float(torch.cumprod(1 - betas, dim=0)[-1])
    return PipelineConfig(
        task=task,
        sampler="ddpm",
        steps=min(len(betas), MAX_SAMPLING_STEPS),
        noise_scale=(1 - last) ** -0.5,  # it starts from unit noise, however much signal its last level holds
        residual_range="unit",
        timesteps=len(betas),
        betas=tuple(betas.tolist()),
    )


def _channels(checkpoint: Path, tensors: dict[str, Tensor], name: str) -> int:
    weight = tensors.get(name)
    if weight is None or weight.ndim != 4 or len(weight) not in RELEASE_CHANNELS:
        raise WeightsError(
            f"{checkpoint}: has no {name} of 8 to 512 channels, so it is not a checkpoint of the released network."
        )
    return len(weight)


def _fill(checkpoint: Path, network: nn.Module, tensors: dict[str, Tensor], prefix: str) -> set[str]:
    """Give a network on the device "meta" the tensors whose names begin with the prefix; those names."""
    part = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    odd = sorted(
        n for n in part.keys() | expected.keys() if n not in part or part[n].shape != expected.get(n)
    )
    if odd:
        found = "is missing" if odd[0] not in part else f"has the shape {list(part[odd[0]].shape)}"
        raise WeightsError(f"{checkpoint}: does not fit the released network: {prefix}{odd[0]:.80} {found}.")
    weights = {name: tensor.float() for name, tensor in part.items()}
    for name, tensor in part.items():
        if not tensor.is_floating_point() or not weights[name].isfinite().all():
            raise WeightsError(
                f"{checkpoint}: {prefix}{name:.80} holds values that are not finite or no weights; download it again."
            )
    network.load_state_dict(weights, assign=True)
    return {prefix + name for name in part}


def _betas(checkpoint: Path, tensors: dict[str, Tensor]) -> Tensor:
    first, last, count = LINEAR
    betas = tensors.get("betas", torch.linspace(first, last, count, dtype=torch.float64))
    if (
        betas.ndim != 1
        or not 1 <= len(betas) <= MAX_SCHEDULE_STEPS
        or not bool(((betas > 0) & (betas < 1)).all())
        or not float(torch.prod(1 - betas.double())) < MOST_SIGNAL
    ):
        raise WeightsError(
            f"{checkpoint}: its betas are not a noise schedule of 1 to {MAX_SCHEDULE_STEPS} steps."
        )
    return betas
