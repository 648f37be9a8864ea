"""Eq. 1: its value by hand, and which network learns from which loss."""

import numpy as np
import pytest
import torch
from torch import nn

from ucdir.config import parse_config
from ucdir.diffusion.loss import (
    LOSSES,
    MAX_WEIGHT,
    PREDICTOR_LOSSES,
    PREDICTOR_TRAINING,
    error_scale,
    psnr_loss,
    residual_loss,
)
from ucdir.errors import ConfigError
from ucdir.training.checks import check_settings

SHAPE = (3, 3, 5, 4)
NORMS = {"l1": np.abs, "mse": np.square}


class Predictor(nn.Module):
    """u_φ(x) = a·x + b."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.8))
        self.b = nn.Parameter(torch.tensor(0.1))

    def forward(self, degraded):
        return self.a * degraded + self.b


class Noise(nn.Module):
    """f_θ = c·noisy + 0.5·x - 0.3·guidance + level + scalar."""

    def __init__(self):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(0.7))

    def forward(self, noisy, degraded, guidance, noise_level, scalars):
        self.given = noisy.detach(), guidance
        extra = (noise_level + scalars["jpeg_quality"])[:, None, None, None]
        return self.c * noisy + 0.5 * degraded - 0.3 * guidance + extra


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    clean, degraded, noise = (torch.randn(SHAPE, generator=generator) for _ in range(3))
    level, quality = torch.tensor([1.0, 0.6, 0.01]), torch.tensor([0.3, -0.2, 0.0])
    return clean, degraded, noise, level, {"jpeg_quality": quality}


def losses(batch, loss="l1", predictor_training="joint", residual_scale=1.0):
    networks = Predictor(), Noise()
    found = residual_loss(
        *networks, *batch, residual_scale=residual_scale, loss=loss, predictor_training=predictor_training
    )
    return found, *networks


@pytest.mark.parametrize("residual_scale", [1.0, 5.0])
@pytest.mark.parametrize("predictor_training", PREDICTOR_TRAINING)
@pytest.mark.parametrize("loss", NORMS)
def test_by_hand(batch, loss, predictor_training, residual_scale):
    found, _, model = losses(batch, loss, predictor_training, residual_scale)
    y, x, epsilon = (t.double().numpy() for t in batch[:3])
    root_gamma = batch[3].double().numpy()[:, None, None, None]
    quality = batch[4]["jpeg_quality"].double().numpy()[:, None, None, None]
    guidance = 0.8 * x + 0.1
    noisy = root_gamma * residual_scale * (y - guidance) + np.sqrt(1 - root_gamma**2) * epsilon
    predicted = 0.7 * noisy + 0.5 * x - 0.3 * guidance + root_gamma + quality
    np.testing.assert_allclose(model.given[0], noisy, rtol=1e-5, atol=1e-5)
    assert found["noise"].item() == pytest.approx(NORMS[loss](predicted - epsilon).mean(), rel=1e-5)
    own = np.abs(y - guidance).mean() if predictor_training == "separate" else 0.0
    assert found["predictor"].item() == pytest.approx(own, rel=1e-5)
    assert set(found) == {"noise", "predictor"}
    assert set(LOSSES) == set(NORMS)


def test_the_ends_of_the_noise_level(batch):
    clean, degraded, noise, _, scalars = batch
    for level, expected in [(1.0, clean - (0.8 * degraded + 0.1)), (0.0, noise)]:
        _, _, model = losses((clean, degraded, noise, torch.full((3,), level), scalars))
        torch.testing.assert_close(model.given[0], expected)


@pytest.mark.parametrize("loss", NORMS)
@pytest.mark.parametrize(
    ("weighting", "prediction"), [("edm", "noise"), ("noise", "residual"), ("edm", "residual")]
)
def test_weighted_and_on_any_path_by_hand(batch, loss, weighting, prediction):
    s, level, signal = 0.3, np.array([0.99, 0.6, 0.2]), np.array([0.9, 0.5, 0.0])
    y, x, epsilon, _, scalars = batch
    given = y, x, epsilon, torch.tensor(level).float(), scalars
    model = Noise()
    found = residual_loss(
        Predictor(), model, *given, residual_scale=5.0, loss=loss, predictor_training="joint",
        signal=torch.tensor(signal).float(), weighting=weighting, prediction=prediction, sigma_data=s,
    )["noise"].item()  # fmt: skip
    sigma = np.sqrt(1 - level**2) / level
    weight = 1 + sigma**2 / s**2 if weighting == "edm" else np.ones(3)
    weight = (weight if prediction == "noise" else weight / sigma**2)[:, None, None, None]
    y, x, epsilon = (t.double().numpy() for t in (y, x, epsilon))
    residual = 5 * (y - (0.8 * x + 0.1))
    a, level = signal[:, None, None, None], level[:, None, None, None]
    noisy = level * (a * residual + sigma[:, None, None, None] * epsilon)
    np.testing.assert_allclose(model.given[0], noisy, rtol=1e-5, atol=1e-5)
    quality = scalars["jpeg_quality"].double().numpy()[:, None, None, None]
    error = 0.7 * noisy + 0.5 * x - 0.3 * (0.8 * x + 0.1) + level + quality
    error -= epsilon if prediction == "noise" else residual
    expected = weight * error**2 if loss == "mse" else np.sqrt(weight) * np.abs(error)
    assert found == pytest.approx(expected.mean(), rel=1e-4)


def test_weights_are_bounded():
    levels = torch.tensor([1e-3, 1.0])
    assert error_scale(levels, "edm", "noise", 0.3).square().tolist() == pytest.approx([MAX_WEIGHT, 1.0])
    assert error_scale(levels, "noise", "residual", 0.0).square()[1].item() == pytest.approx(MAX_WEIGHT)
    assert torch.equal(error_scale(levels, "noise", "noise", 0.0), torch.ones(2)), "Eq. 1, to the bit"


def test_control_each_sample_has_its_own_level(batch):
    clean, degraded, noise, level, scalars = batch
    found, *_ = losses(batch)
    other, *_ = losses((clean, degraded, noise, level.flip(0), scalars))
    assert abs(found["noise"] - other["noise"]) > 1e-3


def gradient(loss, parameter):
    return torch.autograd.grad(loss, parameter, allow_unused=True, retain_graph=True)[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_joint_the_predictor_learns_through_eq_1_alone(batch, loss):
    found, predictor, model = losses(batch, loss, "joint")
    assert gradient(found["noise"], predictor.a).abs() > 1e-4
    assert gradient(found["noise"], model.c).abs() > 1e-4
    assert not found["predictor"].requires_grad
    assert model.given[1].requires_grad, "the guidance that steers the blocks is trained as well"
    # the gradient by finite difference, through the residual and through the guidance
    with torch.no_grad():
        values = []
        for step in (1e-3, -1e-3):
            predictor.b.fill_(0.1 + step)
            values.append(residual_loss(predictor, model, *batch, residual_scale=1.0, loss=loss,
                                        predictor_training="joint")["noise"].double())  # fmt: skip
    expected = (values[0] - values[1]) / 2e-3
    assert gradient(found["noise"], predictor.b).item() == pytest.approx(expected.item(), rel=0.02, abs=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_separate_the_predictor_learns_through_its_own_loss_alone(batch, loss):
    found, predictor, model = losses(batch, loss, "separate")
    assert gradient(found["noise"], predictor.a) is None
    assert gradient(found["noise"], model.c).abs() > 1e-4
    assert gradient(found["predictor"], model.c) is None
    assert not model.given[1].requires_grad
    clean, degraded = batch[:2]
    expected = (torch.sign(0.8 * degraded + 0.1 - clean) * degraded).mean()
    torch.testing.assert_close(gradient(found["predictor"], predictor.a), expected)


@pytest.mark.parametrize("predictor_training", PREDICTOR_TRAINING)
def test_half_precision_networks_give_losses_in_float32(batch, predictor_training):
    exact, *_ = losses(batch, "mse", predictor_training)
    predictor, model = Predictor(), Noise()
    found = residual_loss(
        lambda x: predictor(x).bfloat16(), lambda *inputs: model(*inputs).bfloat16(), *batch,
        residual_scale=1.0, loss="mse", predictor_training=predictor_training,
    )  # fmt: skip
    for name, value in found.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact[name], rtol=0.02, atol=0.0)


def test_psnr_loss_is_the_mean_psnr_of_the_images(batch):
    clean, degraded = (images.clamp(-1, 1) for images in batch[:2])
    squared = np.square(clean.double().numpy() - degraded.double().numpy()).mean((1, 2, 3))
    expected = np.mean(10 * np.log10(2**2 / squared))
    assert psnr_loss(degraded, clean).item() == pytest.approx(-expected / 100, abs=1e-5)


def test_psnr_loss_is_finite_and_flat_where_nothing_is_wrong(batch):
    images = batch[0].clone().requires_grad_()
    loss = psnr_loss(images, batch[0])
    loss.backward()
    assert loss.item() == pytest.approx(-0.589, abs=1e-3)
    assert images.grad.abs().max() == 0


def test_the_predictor_s_own_loss_is_the_chosen_one(batch):
    def own(name):
        return residual_loss(
            Predictor(), Noise(), *batch, residual_scale=1.0, loss="mse", predictor_training="separate",
            predictor_loss=name,
        )["predictor"]  # fmt: skip

    guidance = Predictor()(batch[1])
    assert own("psnr").item() == psnr_loss(guidance, batch[0]).item()
    assert own("l1").item() == (guidance - batch[0]).abs().mean().item()


@pytest.mark.parametrize(
    ("field", "known"),
    [("loss", LOSSES), ("predictor_training", PREDICTOR_TRAINING), ("predictor_loss", PREDICTOR_LOSSES)],
)
def test_unknown_name_in_a_configuration_is_refused_with_the_choices(field, known):
    def config(name):
        return parse_config(
            {"data": {"photos": "photos"}, "diffusion": {field: name}}, "the test's configuration"
        )

    with pytest.raises(
        ConfigError, match=rf"diffusion\.{field} 'no such name' is unknown; choose one of {', '.join(known)}"
    ):
        check_settings(config("no such name"), processes=1)
    for name in known:
        check_settings(config(name), processes=1)
