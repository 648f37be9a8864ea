"""The sections of a configuration, each key with its default (that of the preset `small`), range and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ucdir.limits import MAX_BLOCKS, MAX_SAMPLING_STEPS, MAX_STRIDE, MAX_TRAINING_WORKERS
from ucdir.section import Probability, Section

Positive = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=1, le=4096)]
"""Channels and counts of a network: bounded, so that a slip or a hostile file asks for no absurd memory."""
Levels = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=12)]
"""One number for each level of a UNet."""
Fraction = Annotated[float, Field(gt=0, le=1)]


# ------------------------------------------------------------------------------------------ Sec. 3.1, 3.2


class PredictorConfig(Section):
    """Initial predictor u_φ (Sec. 3.1), `model.predictor`."""

    channels: Size = 24
    """Channels of the finest level."""
    multipliers: Levels = (1, 2, 4)
    """Channels of each level, as multiples of `channels`."""
    blocks: Levels = (2, 2, 2)
    """Blocks of each level: on the way down and again on the way up; once at the deepest level."""
    unshuffle: Size = 2
    """Pixels a side folded into channels before the finest level; 1 works on the pixels themselves."""
    activation: str = "swish"
    """A name in `model.layers.ACTIVATIONS`."""
    norm: str = "none"
    """A name in `model.layers.NORMS`, before the first convolution of each block."""

    @model_validator(mode="after")
    def _levels(self) -> PredictorConfig:
        if len(self.multipliers) != len(self.blocks):
            raise ValueError(f"multipliers has {len(self.multipliers)} levels and blocks {len(self.blocks)}")
        if sum(self.blocks) > MAX_BLOCKS:
            raise ValueError(f"blocks are {sum(self.blocks)} in all, more than {MAX_BLOCKS}")
        if (stride := self.unshuffle << len(self.blocks) - 1) > MAX_STRIDE:
            raise ValueError(
                f"unshuffle {self.unshuffle} and {len(self.blocks)} levels are a stride of {stride} pixels, more than "
                f"{MAX_STRIDE}"
            )
        return self


class DiffusionModelConfig(PredictorConfig):
    """Diffusion model f_θ (Sec. 3.2), `model.diffusion_model`."""

    channels: Size = 32
    """Channels of the finest level."""
    multipliers: Levels = (1, 2, 4)
    """Channels of each level, as multiples of `channels`."""
    blocks: Levels = (1, 2, 2)
    """Basic modules of each level: on the way down and again on the way up; once at the deepest level."""
    kernel_bases: Size = 4
    """N of Eq. 2: kernel bases of each block, and the groups of each basis."""
    block: str = "basic"
    """A name in `model.block.BLOCKS`; with `dvsr`, norm, injection and spatial guidance do not matter."""
    norm: str = "layer_norm"
    """A name in `model.layers.NORMS`, before each of the two convolutions of a block."""
    injection: str = "akgm"
    """A name in `model.cim.INJECTIONS`: how a block integrates its conditions."""
    spatial_guidance: str = "initial"
    """A name in `model.spatial_guidance.SPATIAL_GUIDANCE`: the image that guides the blocks at each place."""
    scalars: tuple[str, ...] = ("jpeg_quality",)
    """Auxiliary scalars beside the noise level: names in `tasks.scalars.SCALARS`; in a file by default the task's."""
    scalar_channels: Size = 128
    """Channels of the embedding of all scalars together."""
    sigma_data: Annotated[float, Field(ge=0, le=100)] = 0.3
    """Standard deviation of the scaled residual, for `model.diffusion_model.precondition`: f_θ starts from the best
    linear guess of the noise. 0 leaves that out, as the paper does."""
    prediction: str = "noise"
    """A name in `diffusion.residual.PREDICTIONS`: what f_θ gives, the noise as in Eq. 1 or the residual."""

    @model_validator(mode="after")
    def _groups(self) -> DiffusionModelConfig:
        if any(self.channels * m % self.kernel_bases for m in self.multipliers):
            raise ValueError(f"kernel_bases {self.kernel_bases} does not divide the channels of every level")
        return self


class ModelConfig(Section):
    """The framework of Fig. 1: initial predictor and diffusion model."""

    architecture: str = "paper"
    """A name in `model.framework.ARCHITECTURES`: `paper` is its text, `release` the authors' networks, which have no
    settings but `channels`."""
    predictor: PredictorConfig = PredictorConfig()
    diffusion_model: DiffusionModelConfig = DiffusionModelConfig()

    @model_validator(mode="before")
    @classmethod
    def _no_preset(cls, values: Any) -> Any:
        if isinstance(values, str):
            raise ValueError(
                "a preset is now named by a key of its own: preset: small, default, paper or release"
            )
        return values


# -------------------------------------------------------------------------------------------- Eq. 1, Sec. 4.2


class DiffusionConfig(Section):
    """The diffusion of the residual (Eq. 1) and its noise schedule (Sec. 4.2)."""

    timesteps: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """T: steps of the noise schedule."""
    beta_start: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """β of the first step."""
    beta_end: Annotated[float, Field(gt=0, lt=1)] = 1e-2
    """β of the last step; between the two β is linear."""
    residual_scale: Annotated[float, Field(ge=1e-3, le=1e3)] = 5.0
    """The residual y - u_φ(x) is multiplied by this before it is diffused; 1 is the paper. Its standard deviation is
    about 0.1; unscaled, it would drown in the noise of most levels."""
    loss: str = "mse"
    """A name in `diffusion.loss.LOSSES`: the norm of Eq. 1."""
    weighting: str = "noise"
    """A name in `diffusion.loss.WEIGHTINGS`: how much each noise level counts; `noise` is Eq. 1."""
    path: str = "diffusion"
    """A name in `diffusion.path.PATHS`: the states that f_θ is trained on. `straight` begins where sampling starts and
    belongs to one `sampling.start_fraction`; it needs the prediction `residual` and a sampler that adds no noise."""
    predictor_training: str = "separate"
    """A name in `diffusion.loss.PREDICTOR_TRAINING`: how u_φ learns."""
    predictor_loss: str = "l1"
    """A name in `diffusion.loss.PREDICTOR_LOSSES`: its own loss where it is trained separately. By `psnr` slightly
    degraded crops count as much as hopeless ones."""
    focus: Fraction = 0.45
    """Fraction of T that most noise levels of training lie below, on the path `diffusion`; choose at least
    `sampling.start_fraction`."""
    focus_probability: Probability = 0.85
    """Share of the noise levels from below `focus`; the others come from all of T. 0 is the paper."""

    @model_validator(mode="after")
    def _rising(self) -> DiffusionConfig:
        if self.beta_start > self.beta_end:
            raise ValueError(f"beta_start {self.beta_start} is above beta_end {self.beta_end}")
        return self


class SamplingConfig(Section):
    """How the residual is sampled (Sec. 4.2)."""

    sampler: str = "ddim"
    """A name in `diffusion.samplers.SAMPLERS`."""
    steps: Annotated[int, Field(ge=1, le=MAX_SAMPLING_STEPS)] = 4
    """Forward passes of the diffusion model (NFE)."""
    start_fraction: Fraction = 0.3
    """Fraction of T that sampling starts from: residual 0 plus noise of that level. 1 is the paper."""
    spacing: Literal["time", "sigma"] = "time"
    """What the steps are uniform in: t as in the paper, or σ = √(1-γ)/√γ, as suits the path `straight`."""
    eta: Probability = 0.0
    """Scale of the ancestral noise added at each step (DDPM and DDIM): 0 is deterministic, 1 is the paper."""
    noise_scale: Probability = 1.0
    """Scale of the noise that sampling starts from; with 0 sampling is a regression."""

    @model_validator(mode="after")
    def _ddpm(self) -> SamplingConfig:
        if self.sampler == "ddpm" and self.eta == 0:
            raise ValueError(
                "DDPM without its noise (eta 0) is DDIM: choose sampler ddim, or an eta above 0 (1 is the paper)"
            )
        return self

    @field_validator("sampler")
    @classmethod
    def _known(cls, name: str) -> str:
        if name == "unipc":
            raise ValueError("UniPC was removed; choose dpm_solver++, which is also of second order")
        return name


class DataConfig(Section):
    """Where the training images are, and how crops are cut from them.

    Either `photos`, or pairs (`degraded` and `clean`, or `pairs`), or both: then `pairs_share` says how much of each.
    """

    photos: Path | None = None
    """Folder of clean photographs, read recursively, which the task degrades."""
    degraded: Path | None = None
    """Folder of degraded photographs; each has a file of the same name in `clean`."""
    clean: Path | None = None
    """Folder of the clean image of each file in `degraded`."""
    pairs: Path | None = None
    """A text file of pairs, or the folder of a data set of pairs in a known `layout`."""
    layout: str = "auto"
    """A name in `data.pairs.LAYOUTS`: how `pairs` is laid out."""
    pairs_share: Probability = 0.5
    """Share of the crops cut from pairs, where there are photographs too."""
    pairs_scale: tuple[Annotated[float, Field(ge=0, le=4)], Annotated[float, Field(ge=0, le=4)]] = (1.0, 1.0)
    """Least and most that the difference between the images of a pair is multiplied by, such as the noise."""
    frames: Path | None = None
    """Folder of consecutive sharp frames of films (`a_0007.png`, `a_0008.png`, ...), beside photographs or pairs;
    the mean of some is a blurred image, the one in the middle the clean one."""
    frames_share: Probability = 0.2
    """Share of the crops made of frames, where there are any."""
    documents_share: Probability = 0.0
    """Share of the crops of photographs that are drawn text, boxes and lines instead, so that flat areas stay flat."""
    cache: Path | None = None
    """Folder that decoded images are kept in; by default beside the checkpoint. Trainings on the same images
    with crops of the same size may share one."""
    hold_out: Annotated[int, Field(ge=0)] = 16
    """Photographs (or pairs, if there are any) set aside for the sample images and never trained on."""
    hold_out_names: tuple[str, ...] = ()
    """Instead of that number: patterns of the names of those set aside, such as `GOPR0374*` for all of a scene. Frames,
    and photographs beside pairs, are left out where a pattern fits them."""
    crop: Positive = 64
    """Side of a training crop in pixels."""
    candidates: Positive = 1
    """Places drawn for each crop, of which the one with the most detail is taken: with 2, flat areas are rarer."""
    most_shrunk: Annotated[float, Field(ge=1, le=8)] = 1.0
    """Photographs are shrunk by a factor between 1 and this before they are cut: most photographs that are restored
    were made smaller, and so have more detail in as many pixels than a camera's."""
    flip: bool = True
    """Mirror and rotate crops at random."""

    @model_validator(mode="after")
    def _sources(self) -> DataConfig:
        if (self.degraded is None) != (self.clean is None):
            raise ValueError("degraded and clean go together: name both folders")
        if self.pairs is not None and self.degraded is not None:
            raise ValueError("name either pairs, or degraded and clean")
        if self.pairs_scale[0] > self.pairs_scale[1]:
            raise ValueError(f"pairs_scale {list(self.pairs_scale)}: the least comes first")
        if self.photos is None and not self.has_pairs:
            raise ValueError("name photos (a folder of clean photographs), pairs, or degraded and clean")
        shares = self.pairs_share * self.has_pairs + self.frames_share * (self.frames is not None)
        if self.photos is not None and shares > 1:
            raise ValueError(f"pairs_share and frames_share are {shares:g} in all, more than 1")
        return self

    @property
    def has_pairs(self) -> bool:
        """Whether real pairs are trained on."""
        return self.pairs is not None or self.degraded is not None

    @property
    def folders(self) -> list[Path]:
        """Every folder or file that images are read from."""
        places = (self.photos, self.degraded, self.clean, self.pairs, self.frames)
        return [place for place in places if place is not None]


class TrainingConfig(Section):
    """Training (Sec. 4.2)."""

    initial: str | None = None
    """Folder of a model, or name of one of the package, that training starts from; by default from fresh weights."""
    initial_networks: Annotated[tuple[Literal["predictor", "diffusion_model"], ...], Field(min_length=1)] = (
        "predictor",
        "diffusion_model",
    )
    """Which of its networks training takes from `initial`; the other starts from fresh weights."""
    objective: str = "noise"
    """A name in `training.objectives.OBJECTIVES`: `noise` is Eq. 1, `predictor` trains the initial predictor alone,
    `sampler_aware` the steps that the sampler takes; `energy_score` those, so that samples differ as what could have
    been there does, and f_θ takes the scalar `diversity`; `regression` is the baseline without diffusion."""
    perceptual_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of LPIPS in the objectives `sampler_aware` and `energy_score`; 0 leaves it out."""
    grid_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight there of errors that repeat with the period of the network's coarsest pixels; 0 leaves it out."""
    adversarial_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight there of a discriminator's verdict, 0.02 to 0.1; 0 leaves it out. It needs `freeze_predictor`."""
    adversarial_features: str = "predictor"
    """A name in `training.adversarial.FEATURES`: the frozen network that the discriminator looks through."""
    freeze_predictor: bool = False
    """Whether the initial predictor stays as it is, and only the diffusion model learns."""
    steps: Positive = 5100
    """Optimizer steps in all."""
    batch_size: Positive = 16
    """Crops a step, over all processes together."""
    optimizer: str = "adamw"
    """A name in `training.optimizers.OPTIMIZERS`; `muon` needs far fewer steps, at a learning rate of about 1e-3."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Learning rate after the warm-up."""
    decay_steps: Annotated[int, Field(ge=0)] = 2350
    """Last steps, over which the learning rate falls linearly to zero; 0 is the paper."""
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    """Steps of the linear warm-up of the learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay, times the learning rate."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient of both networks together; that of a discriminator is bounded apart."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Decay of the exponential moving average of the weights, after its own warm-up."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """Arithmetic of the forward pass; fp16 would need a loss scale, and resuming would not be exact."""
    compile: bool = False
    """Compile the networks with torch.compile: minutes of waiting first, other rounding, and no faster on a CPU."""
    workers: Annotated[int, Field(ge=0, le=MAX_TRAINING_WORKERS)] = 1
    """Worker processes that cut and degrade crops."""
    checkpoint_every: Positive = 100
    """Steps between checkpoints."""
    sample_every: Positive = 2000
    """Steps between sample images of the held-out photos."""

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _of_yaml(cls, value: Any) -> Any:
        return "no" if value is False else value  # how YAML reads a bare no

    @field_validator("objective")
    @classmethod
    def _renamed(cls, name: str) -> str:
        if name == "few_steps":
            raise ValueError("'few_steps' is now 'sampler_aware'")
        return name
