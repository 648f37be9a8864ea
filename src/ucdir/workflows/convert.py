"""From the authors' checkpoint to a folder that our pipeline loads."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from ucdir.errors import OutputError, WeightsError
from ucdir.model.release import (
    RELEASE_CHANNELS,
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
)
from ucdir.pipeline import Pipeline
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


def convert(checkpoint: Path, output: Path, *, task: str = "low_light") -> Pipeline:
    """Write the authors' network as a model folder: fp32 weights, and the schedule that the checkpoint holds.

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
    if output.exists():
        raise OutputError(f"{output}: exists already; name a new folder.")
    tensors = tensors_of(checkpoint)
    channels = _channels(checkpoint, tensors, "denoise_fn.downs.0.weight")
    diffusion_model = ReleaseDiffusionModel(ReleaseDiffusionModelConfig(channels=channels))
    channels = _channels(checkpoint, tensors, "predictor.conv1_1.weight")
    predictor = ReleasePredictor(ReleasePredictorConfig(channels=channels))
    known = BUFFERS | _fill(checkpoint, diffusion_model, tensors, "denoise_fn.")
    known |= _fill(checkpoint, predictor, tensors, "predictor.")
    left = sorted(tensors.keys() - known)
    if left:
        raise WeightsError(
            f"{checkpoint}: holds {left[0]!r:.80}, which the released network does not have; name its own checkpoint."
        )
    pipeline = release_pipeline(predictor, diffusion_model, _betas(checkpoint, tensors), task)
    pipeline.save_pretrained(output)
    return pipeline


def release_pipeline(
    predictor: ReleasePredictor, diffusion_model: ReleaseDiffusionModel, betas: Tensor, task: str
) -> Pipeline:
    """The released sampler: ancestral steps, one for each β [n], the residual limited to [-1,1]."""
    scheduler = DDIMScheduler(
        num_train_timesteps=len(betas), trained_betas=betas.double().tolist(), prediction_type="epsilon",
        clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing",
    )  # fmt: skip
    last = float(torch.cumprod(1 - betas.double(), dim=0)[-1])
    return Pipeline(
        predictor, diffusion_model, scheduler, residual_scale=1.0, start=1.0, default_steps=len(betas), eta=1.0,
        # it starts from unit noise, however much signal its last level holds
        noise=(1 - last) ** -0.5, residual_range="unit", task=task,
    )  # fmt: skip


def _channels(checkpoint: Path, tensors: dict[str, Tensor], name: str) -> int:
    weight = tensors.get(name)
    if weight is None or weight.ndim != 4 or len(weight) not in RELEASE_CHANNELS:
        raise WeightsError(
            f"{checkpoint}: has no {name} of 8 to 512 channels, so it is no checkpoint of the released network."
        )
    return len(weight)


def _fill(checkpoint: Path, network: nn.Module, tensors: dict[str, Tensor], prefix: str) -> set[str]:
    """Load what begins with the prefix; the names that were taken."""
    part = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(part)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{checkpoint}: does not fit the released network ({reason:.200}).") from None
    return {prefix + name for name in part}


def _betas(checkpoint: Path, tensors: dict[str, Tensor]) -> Tensor:
    first, last, count = LINEAR
    betas = tensors.get("betas", torch.linspace(first, last, count, dtype=torch.float64))
    if betas.ndim != 1 or not len(betas) or not bool(((betas > 0) & (betas < 1)).all()):
        raise WeightsError(f"{checkpoint}: its betas are no noise schedule.")
    return betas
