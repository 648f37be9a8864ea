"""The framework built from its configuration: sizes of the presets, names, fresh weights, dtypes."""

import pytest
import torch
from torch import nn

from ucdir.config import PRESETS, DiffusionModelConfig, ModelConfig, PredictorConfig, parse_config
from ucdir.errors import ConfigError
from ucdir.model.block import BLOCKS
from ucdir.model.cim import INJECTIONS, AdaptiveKernelGuidance
from ucdir.model.cost import macs, parameters
from ucdir.model.diffusion_model import DiffusionModel
from ucdir.model.framework import build
from ucdir.model.layers import ACTIVATIONS, NORMS, GroupNorm, LayerNorm, NoNorm
from ucdir.model.predictor import InitialPredictor
from ucdir.model.spatial_guidance import SPATIAL_GUIDANCE
from ucdir.tasks.scalars import SCALARS


def on_meta(config: ModelConfig) -> tuple[InitialPredictor, DiffusionModel]:
    with torch.device("meta"):
        return build(config)


def test_default_is_small():
    predictor, diffusion_model = on_meta(PRESETS["default"].model)
    assert 0.1e9 < macs(predictor, 256) <= 16e9
    assert 0.1e9 < macs(diffusion_model, 256) <= 16e9
    assert 2 * (parameters(predictor) + parameters(diffusion_model)) <= 16e6, "bytes in fp16"
    assert max(predictor.receptive_field, diffusion_model.receptive_field) <= 96


def test_paper_is_the_papers_size():
    config = PRESETS["paper"].model.diffusion_model
    assert (config.channels, config.multipliers, config.kernel_bases) == (64, (1, 2, 4, 8, 8), 8)
    predictor, diffusion_model = on_meta(PRESETS["paper"].model)
    assert [d.out_channels for d in diffusion_model.unet.downsample] == [128, 256, 512, 512]
    assert [len(level) for level in diffusion_model.unet.down] == [2] * 5
    assert 60e9 < macs(diffusion_model, 256) < 120e9
    assert parameters(predictor) < 0.2 * parameters(diffusion_model), "a lightweight UNet (Sec. 3.1)"
    assert macs(predictor, 256) < 0.3 * macs(diffusion_model, 256)
    bases = [m.bases.shape for m in diffusion_model.modules() if isinstance(m, AdaptiveKernelGuidance)]
    assert {shape[0] // (shape[1] * 8) for shape in bases} == {8}, "N bases in N groups: [C·N, C/N, 3, 3]"
    assert len(bases) == 18


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "release"])
def test_every_operation_of_a_preset_is_local(preset):
    allowed = (
        nn.Conv2d,
        nn.Linear,
        nn.SiLU,
        LayerNorm,
        NoNorm,
    )  # pure convolution: no attention, no global statistics
    for network in on_meta(PRESETS[preset].model):
        leaves = {type(m) for m in network.modules() if not list(m.children())}
        names = {leaf.__name__ for leaf in leaves if not issubclass(leaf, allowed)}
        assert names <= {"ParameterDict", "SimpleGate", "ModuleList"}
        assert not any(isinstance(m, GroupNorm) for m in network.modules())


def test_macs_grow_with_the_area():
    for network in on_meta(PRESETS["default"].model):
        assert macs(network, 256) == pytest.approx(4 * macs(network, 128), rel=1e-3)


# ----------------------------------------------------------------------------------------------------- names

NAMES = [
    ("predictor", "activation", ACTIVATIONS),
    ("predictor", "norm", NORMS),
    ("diffusion_model", "activation", ACTIVATIONS),
    ("diffusion_model", "block", BLOCKS),
    ("diffusion_model", "norm", NORMS),
    ("diffusion_model", "injection", INJECTIONS),
    ("diffusion_model", "spatial_guidance", SPATIAL_GUIDANCE),
]


def configured(section, **changes) -> ModelConfig:
    """As it comes from a file."""
    values = {"data": {"photos": "photos"}, "model": {section: changes}}
    return parse_config(values, "the test's configuration").model


@pytest.mark.parametrize(("section", "field", "known"), NAMES)
def test_unknown_name_is_refused_with_the_choices(section, field, known):
    with pytest.raises(ConfigError) as error:
        build(configured(section, **{field: "no such name"}))
    message = str(error.value)
    assert f"model.{section}.{field} 'no such name' is unknown; choose one of" in message
    assert all(name in message for name in known)


def test_unknown_scalar_is_refused():
    with pytest.raises(ConfigError, match=r"scalars 'iso' is unknown; choose one of jpeg_quality") as error:
        build(configured("diffusion_model", scalars=("jpeg_quality", "iso")))
    assert all(name in str(error.value) for name in SCALARS)


def test_all_problems_come_in_one_message():
    changes = {"norm": "batch", "scalars": ("jpeg_quality", "jpeg_quality"), "scalar_channels": 7}
    with pytest.raises(
        ConfigError, match=r"(?s)norm 'batch'.*'jpeg_quality' twice.*scalar_channels 7 is odd"
    ):
        build(configured("diffusion_model", **changes))


@pytest.mark.parametrize("network", ["predictor", "diffusion_model"])
@pytest.mark.parametrize(("channels", "fits"), [(32, True), (48, True), (64, True), (100, False)])
def test_group_norm_needs_groups(network, channels, fits):
    config = configured(network, norm="group_norm", channels=channels, multipliers=(1,), blocks=(1,))
    if fits:
        on_meta(config)
    else:
        with pytest.raises(ConfigError, match="choose multiples of 32"):
            on_meta(config)


@pytest.mark.parametrize(
    ("field", "name"), [(f, n) for s, f, k in NAMES if s == "diffusion_model" for n in k]
)
def test_every_known_name_builds_and_runs(tiny, filled, field, name):
    model = filled(build(tiny(**{field: name}))[1])
    images = torch.randn(3, 1, 3, 8, 8)
    result = model(*images, torch.tensor([0.5]), {})
    assert result.shape == (1, 3, 8, 8)
    assert result.isfinite().all()
    assert result.abs().max() > 0


# --------------------------------------------------------------------------------------------------- weights


def test_fresh_networks_start_at_the_degraded_image_and_at_no_noise(tiny):
    predictor, diffusion_model = build(tiny())
    images = torch.randn(3, 1, 3, 8, 8)
    assert torch.equal(predictor(images[0]), images[0])
    assert diffusion_model(*images, torch.tensor([0.5]), {}).abs().max() == 0


def test_same_seed_same_weights(tiny):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(torch.cat([p.flatten() for network in build(tiny()) for p in network.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_parameter_learns(tiny, filled):
    predictor, diffusion_model = (filled(network) for network in build(tiny()))
    degraded, noisy = torch.randn(2, 2, 3, 8, 8)
    known = {"jpeg_quality": torch.tensor([float("nan"), 20.0])}
    diffusion_model(
        noisy, degraded, predictor(degraded), torch.tensor([0.2, 0.9]), known
    ).square().sum().backward()
    for network in (predictor, diffusion_model):
        still = [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0]
        assert not still


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_runs_in_the_dtype_of_its_weights(tiny, filled, dtype):
    networks = [filled(network) for network in build(tiny())]
    images = torch.randn(3, 1, 3, 8, 8)
    level, known = torch.tensor([0.5]), {"jpeg_quality": torch.tensor([20.0])}

    def both(dtype):
        predictor, diffusion_model = (network.to(dtype) for network in networks)
        given = images.to(dtype)
        return [predictor(given[0]), diffusion_model(*given, level, known)]

    exact = both(torch.float64)
    for result, expected in zip(both(dtype), exact, strict=True):
        assert result.dtype == dtype
        error = (result.double() - expected).norm() / expected.norm()
        assert error <= (1e-12 if dtype == torch.float64 else 8 * torch.finfo(dtype).eps)


def test_autocast_on_the_cpu(tiny, filled):
    model = filled(build(tiny())[1])
    images = torch.randn(3, 2, 3, 8, 8)
    arguments = (*images, torch.tensor([0.2, 0.9]), {})
    exact = model(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(*arguments)
    assert (mixed.float() - exact).norm() < 8 * torch.finfo(torch.bfloat16).eps * exact.norm()
    mixed.float().square().sum().backward()
    assert all(
        p.grad.dtype == torch.float32 and p.grad.isfinite().all()
        for p in model.parameters()
        if p.grad is not None
    )


def test_memory_layout_does_not_matter(tiny, filled):
    model = filled(build(tiny())[1])
    images = torch.randn(3, 2, 3, 16, 24)
    last = [i.contiguous(memory_format=torch.channels_last) for i in images]
    level = torch.tensor([0.2, 0.9])
    plain = model(*images, level, {})
    torch.testing.assert_close(model.to(memory_format=torch.channels_last)(*last, level, {}), plain)


@pytest.mark.filterwarnings(  # torch's own doing
    "ignore:.*should not be instantiated:DeprecationWarning", "ignore:The .grad attribute:UserWarning"
)
def test_torch_compile_follows_both_networks_without_a_break():
    tiny = {"channels": 4, "multipliers": (1, 2), "blocks": (1, 1)}
    torch.manual_seed(0)
    predictor = InitialPredictor(PredictorConfig(**tiny))
    model = DiffusionModel(DiffusionModelConfig(**tiny, kernel_bases=2, scalar_channels=8, sigma_data=0.3))
    for weight in (*predictor.parameters(), *model.parameters()):  # the last layers start at zero
        weight.data.add_(torch.randn_like(weight) * 0.1)
    image, level = torch.randn(2, 3, 16, 16), torch.tensor([0.5, 0.9])
    scalars = {"jpeg_quality": torch.tensor([10.0, float("nan")])}
    results = []
    for whole in (False, True):
        first, second = (
            torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=False) if whole else network
            for network in (predictor, model)
        )
        noise = second(image, image, first(image), level, scalars)
        gradients = torch.autograd.grad(noise.square().mean(), [*predictor.parameters(), *model.parameters()])
        results.append((noise, *gradients))
    for ours, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, ours, rtol=1e-4, atol=1e-5)
