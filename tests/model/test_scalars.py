"""Scalars: sines by hand, "unknown" as a learned vector, no sample sees its neighbour's numbers."""

import numpy as np
import pytest
import torch

from ucdir.model.framework import build
from ucdir.model.scalars import ScalarEncoder, sinusoidal, to_unit_interval
from ucdir.tasks.scalars import SCALARS, UNKNOWN

NAMES = ("jpeg_quality",)
QUALITIES = torch.tensor([10.0, UNKNOWN, 75.0, 100.0])
LEVELS = torch.tensor([0.01, 0.4, 0.99, 1.0])


@pytest.fixture
def encoder(filled):
    return filled(ScalarEncoder(NAMES, 16))


def test_sines_and_cosines_by_hand():
    value = np.array([0.0, 0.25, 1.0])
    frequencies = np.pi * 1000.0 ** (np.arange(8) / 7)  # from π to 1000π
    angles = value[:, None] * frequencies
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(sinusoidal(torch.tensor(value), 16), expected, atol=2e-3)
    np.testing.assert_allclose(sinusoidal(torch.tensor(value), 16)[:, :4], expected[:, :4], atol=1e-5)


def test_encoding_by_hand(encoder):
    p = dict(encoder.named_parameters())
    embedding = sinusoidal(torch.tensor([0.1, 0.0, 0.75, 1.0]), 16)
    embedding[1] = p["unknown.jpeg_quality"]
    expected = sinusoidal(LEVELS, 16) @ p["linear.noise_level.weight"].T + p["linear.noise_level.bias"]
    expected = expected + embedding @ p["linear.jpeg_quality.weight"].T + p["linear.jpeg_quality.bias"]
    torch.testing.assert_close(encoder(LEVELS, {"jpeg_quality": QUALITIES}), expected)


@pytest.mark.parametrize("known", [{}, {"jpeg_quality": torch.full((4,), UNKNOWN)}, {"blur": QUALITIES}])
def test_absent_and_nan_are_unknown(encoder, known):
    mixed = encoder(LEVELS[1:2], {"jpeg_quality": QUALITIES[1:2]})
    torch.testing.assert_close(encoder(LEVELS, known)[1:2], mixed)
    assert encoder(LEVELS, known).isfinite().all()


def test_gradient_reaches_unknown_from_unknown_samples_only(encoder):
    weights = encoder.unknown["jpeg_quality"]
    result = encoder(LEVELS, {"jpeg_quality": QUALITIES})
    for sample, reaches in enumerate([False, True, False, False]):
        (gradient,) = torch.autograd.grad(result[sample].square().sum(), weights, retain_graph=True)
        assert bool(gradient.abs().sum() > 0) is reaches
    result.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters()), "NaN must not leak into a gradient"


def test_fresh_unknown_already_learns():
    encoder = ScalarEncoder(NAMES, 16)
    encoder(LEVELS, {}).square().sum().backward()
    assert encoder.unknown["jpeg_quality"].grad.abs().sum() > 0


def test_values_beyond_the_range_are_its_ends(encoder):
    level = LEVELS[:1]

    def encode(value):
        return encoder(level, {"jpeg_quality": torch.tensor([value])})

    for value, end in [(-5.0, 0.0), (1e9, 100.0), (float("inf"), 100.0), (float("-inf"), 0.0)]:
        assert torch.equal(encode(value), encode(end))
    assert not torch.equal(encode(0.0), encode(UNKNOWN)), "unknown is no value"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_follows_the_weights_dtype(encoder, dtype):
    known = {"jpeg_quality": QUALITIES}
    expected = encoder(LEVELS, known).double()
    copy = ScalarEncoder(NAMES, 16)
    copy.load_state_dict(encoder.state_dict())
    result = copy.to(dtype)(LEVELS, known)
    assert result.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float64 else 0.05
    torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------------------------------- in the whole model


@pytest.fixture
def model(filled, tiny):
    return filled(build(tiny())[1]).double()


def images(batch):
    return [torch.randn(batch, 3, 8, 12).double() for _ in range(3)]


def test_each_sample_has_its_own_noise_level_and_scalars(model):
    inputs = images(4)
    together = model(*inputs, LEVELS, {"jpeg_quality": QUALITIES})
    for i in range(4):
        own = {"jpeg_quality": QUALITIES[i : i + 1]}
        alone = model(*(t[i : i + 1] for t in inputs), LEVELS[i : i + 1], own)
        torch.testing.assert_close(together[i : i + 1], alone)
    turned = model(*inputs, LEVELS.flip(0), {"jpeg_quality": QUALITIES})
    mixed = model(*inputs, LEVELS, {"jpeg_quality": QUALITIES.flip(0)})
    assert min((turned - together).abs().max(), (mixed - together).abs().max()) > 1e-3, "control"


def test_a_known_quality_and_the_noise_level_change_the_output(model):
    inputs, level = images(1), torch.tensor([0.5])
    outputs = [model(*inputs, level, {"jpeg_quality": torch.tensor([q])}) for q in (10.0, 11.0, UNKNOWN)]
    outputs.append(model(*inputs, level + 0.01, {"jpeg_quality": torch.tensor([10.0])}))
    for i in range(4):
        for j in range(i):
            assert (outputs[i] - outputs[j]).abs().max() > 1e-4
    assert all(o.isfinite().all() for o in outputs)


def test_a_model_without_scalars(filled, tiny):
    model = filled(build(tiny(scalars=()))[1]).double()
    inputs, level = images(1), torch.tensor([0.5])
    assert model.scalar_names == ()
    assert torch.equal(
        model(*inputs, level, {}), model(*inputs, level, {"jpeg_quality": torch.tensor([5.0])})
    )


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("jpeg_quality", [0.0, 50.0, 100.0, 120.0, -3.0, UNKNOWN], [0.0, 0.5, 1.0, 1.0, 0.0, 0.0]),
        ("blur_length", [0.0, 16.0, 64.0], [0.0, 0.25, 1.0]),
        ("exposure_ratio", [1.0, 10.0, 100.0, 1000.0, 0.0, UNKNOWN], [0.0, 1 / 3, 2 / 3, 1.0, 0.0, 0.0]),
    ],
)
def test_to_the_unit_interval_in_a_straight_line_or_by_the_logarithm(name, values, expected):
    found = to_unit_interval(SCALARS[name], torch.tensor(values))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scalars_of_one_task_do_not_disturb_another(filled):
    both = filled(ScalarEncoder(("blur_type", "blur_length"), 16))
    level = torch.tensor([0.5])
    embeddings = [
        both(level, {"blur_type": torch.tensor([kind]), "blur_length": torch.tensor([length])})
        for kind, length in ((0.0, 3.0), (1.0, 3.0), (0.0, 30.0), (UNKNOWN, 3.0))
    ]
    assert all((a - b).abs().max() > 1e-3 for i, a in enumerate(embeddings) for b in embeddings[:i])
