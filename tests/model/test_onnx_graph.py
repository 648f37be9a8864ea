"""Networks as ONNX graphs: equal to PyTorch's for all pretrained models and every variant, at any size."""

import numpy as np
import onnxruntime
import pytest
import torch

from ucdir.config import DiffusionModelConfig, ModelConfig, PredictorConfig
from ucdir.errors import WeightsError
from ucdir.model.framework import build
from ucdir.model.onnx_folder import make_onnx
from ucdir.model.onnx_graph import diffusion_model_graph, predictor_graph
from ucdir.model.pretrained import list_models, model_folder
from ucdir.model.weights import load_model

pytestmark = pytest.mark.usefixtures("one_thread")


def opened(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options)


def inputs_of(rng, scalars, batch, height, width):
    """Images, noise levels and scalars of a batch; the last image's first scalar is unknown."""
    images = rng.uniform(-1, 1, (3, batch, 3, height, width)).astype(np.float32)
    given = dict(zip(("noisy", "degraded", "guidance"), images, strict=True))
    given["noise_level"] = rng.uniform(0.1, 0.9, batch).astype(np.float32)
    for name in scalars:
        given[name] = rng.uniform(1, 30, batch).astype(np.float32)
    for name in scalars[:1]:
        given[name][-1] = np.nan
    return given


def apart(network, session, given):
    """Largest difference of a network's output in PyTorch and in ONNX Runtime."""
    tensors = {name: torch.from_numpy(value) for name, value in given.items()}
    if network.__class__.__name__ == "InitialPredictor":
        given, arguments = {"degraded": given["degraded"]}, (tensors["degraded"],)
    else:
        arguments = [tensors.pop(name) for name in ("noisy", "degraded", "guidance", "noise_level")] + [
            tensors
        ]
    with torch.no_grad():
        expected = network(*arguments).numpy()
    (found,) = session.run(None, given)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    return np.abs(found - expected).max() / max(
        1, np.abs(expected).max()
    )  # of rounding, which grows with the numbers


@pytest.mark.parametrize("name", list_models())
def test_pretrained_models_equal_pytorch_at_any_size(name):
    rng = np.random.default_rng(len(name))
    predictor, diffusion_model, _ = load_model(model_folder(name))
    model = make_onnx(model_folder(name))
    sessions = opened(model.predictor), opened(model.diffusion_model)
    multiple = max(network.multiple_of for network in (predictor, diffusion_model))
    sizes = [(2, 2 * multiple, 3 * multiple), *((1, *(multiple * rng.integers(2, 9, 2))) for _ in range(3))]
    for batch, height, width in sizes:
        given = inputs_of(rng, diffusion_model.scalar_names, batch, height, width)
        for network, session in zip((predictor, diffusion_model), sessions, strict=True):
            assert apart(network, session, given) < 1e-4
    with torch.no_grad():  # the control
        diffusion_model.unet.down[0][0].conv2.bases.mul_(1.01)
    assert apart(diffusion_model, sessions[1], given) > 1e-4


SMALL = {"channels": 8, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 2}
VARIANTS = [
    {},
    {"unshuffle": 1, "multipliers": [1], "blocks": [2]},
    {"unshuffle": 3},
    {"kernel_bases": 1},
    {"kernel_bases": 8},
    {"sigma_data": 0.0},
    {"prediction": "residual"},
    {"prediction": "residual", "sigma_data": 0.0},
    {"activation": "relu"},
    {"norm": "none"},
    {"norm": "group_norm", "channels": 32},
    {"scalars": []},
    {"scalars": ["exposure_ratio", "gain", "noise_strength", "blur_type"]},
    {"block": "dvsr"},
    *({"injection": i, "spatial_guidance": g}
      for i in ("akgm", "addition", "concatenation", "adain") for g in ("initial", "degraded", "internal", "none")),
]  # fmt: skip


def random_network(settings):
    """A diffusion model of random weights, in which nothing is 0."""
    config = {**SMALL, "kernel_bases": 2, "scalar_channels": 16, **settings}
    return randomized(build(ModelConfig.model_validate({"predictor": SMALL, "diffusion_model": config}))[1])


def randomized(network):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
            parameter.div_(max(1, parameter[0].numel()) ** 0.5)
    return network.eval()


def weights_of(network):
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_variant_equals_pytorch(settings):
    network = random_network(settings)
    session = opened(diffusion_model_graph(network.config, weights_of(network)))
    given = inputs_of(
        np.random.default_rng(0), network.scalar_names, 2, 4 * network.multiple_of, 3 * network.multiple_of
    )
    assert apart(network, session, given) < 1e-4
    if network.scalar_names:  # the control: each scalar and each image counts
        with torch.no_grad():
            network.scalar_encoder.unknown[network.scalar_names[0]].add_(9)
        assert apart(network, session, given) > 1e-4


@pytest.mark.parametrize(
    "settings", [{}, {"norm": "layer_norm"}, {"norm": "group_norm", "channels": 32}], ids=str
)
def test_every_predictor_equals_pytorch(settings):
    predictor = randomized(build(ModelConfig.model_validate({"predictor": {**SMALL, **settings}}))[0])
    session = opened(predictor_graph(predictor.config, weights_of(predictor)))
    image = np.random.default_rng(0).random((2, 3, 12, 16), np.float32) * 2 - 1
    given = {"degraded": image}
    assert apart(predictor, session, given) < 1e-4
    with torch.no_grad():  # the control
        predictor.unet.down[0][0].conv1.weight.mul_(1.01)
    assert apart(predictor, session, given) > 1e-4


@pytest.mark.parametrize("count", [1, 2, 4])
def test_both_forms_of_the_akgm_are_equal(count):
    network = random_network({"kernel_bases": count})
    given = inputs_of(np.random.default_rng(0), network.scalar_names, 2, 16, 24)
    for form in ("slices", "grouped"):
        session = opened(diffusion_model_graph(network.config, weights_of(network), akgm_form=form))
        assert apart(network, session, given) < 1e-4


def test_fp16_is_near_and_half_as_large():
    exact, half = (
        make_onnx(model_folder("jpeg_restoration_small"), precision) for precision in ("fp32", "fp16")
    )
    assert len(half.diffusion_model) < 0.6 * len(exact.diffusion_model)
    given = inputs_of(np.random.default_rng(0), ("jpeg_quality",), 2, 32, 48)
    (a,), (b,) = (opened(model.diffusion_model).run(None, given) for model in (exact, half))
    assert b.dtype == np.float32
    assert np.abs(a - b).max() < 5e-3
    given = {"degraded": given["degraded"]}
    (a,), (b,) = (opened(model.predictor).run(None, given) for model in (exact, half))
    assert np.abs(a - b).max() < 5e-3


def changed(weights, **changes):
    return {name: array for name, array in {**weights, **changes}.items() if array is not None}


def test_weights_that_do_not_fit_are_refused():
    predictor, _ = build(ModelConfig.model_validate({"predictor": SMALL, "diffusion_model": SMALL}))
    weights = weights_of(predictor)
    predictor_graph(predictor.config, weights)  # the control
    name = "unet.head.bias"
    for wrong, message in [
        (changed(weights, **{name: None}), "unet.head.bias is missing, expected \\[12\\]"),
        (
            changed(weights, **{name: np.zeros(3, np.float32)}),
            "unet.head.bias has the shape \\[3\\], expected",
        ),
        (
            changed(weights, **{name: np.full(12, np.inf, np.float32)}),
            "unet.head.bias holds values that are not",
        ),
        (changed(weights, more=np.zeros(3)), "more is no weight of this network"),
    ]:
        with pytest.raises(WeightsError, match=message):
            predictor_graph(predictor.config, wrong)


@pytest.mark.parametrize(
    "key", ["activation", "block", "norm", "injection", "prediction", "spatial_guidance"]
)
def test_unknown_variants_are_refused(key):
    with pytest.raises(WeightsError, match=f"{key} 'other' is unknown, expected one of"):
        diffusion_model_graph(DiffusionModelConfig(**{key: "other"}), {})
    with pytest.raises(WeightsError, match="activation 'other' is unknown"):
        predictor_graph(PredictorConfig(activation="other"), {})
