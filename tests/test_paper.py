"""The paper's equations and numbers by hand.

"A Unified Conditional Framework for Diffusion-based Image Restoration": written from its text, with numpy
and loops, against the networks and the training as they are used.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ucdir.config import PRESETS, DiffusionModelConfig, ModelConfig, PredictorConfig
from ucdir.diffusion.loss import residual_loss
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.model.block import BasicModule
from ucdir.model.cim import AdaptiveKernelGuidance
from ucdir.model.framework import build
from ucdir.model.layers import LayerNorm


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small_framework():
    size = {"channels": 8, "multipliers": (1, 2), "blocks": (1, 1), "unshuffle": 1}
    config = ModelConfig(
        predictor=PredictorConfig(**size),
        diffusion_model=DiffusionModelConfig(**size, kernel_bases=2, scalar_channels=8, sigma_data=0),
    )
    networks = build(config)
    for network in networks:
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.2)
    return networks


# ------------------------------------------ Eq. 1: E ‖ f_θ( √γ (y - u_φ(x)) + √(1-γ) ε, x, γ ) - ε ‖


@pytest.mark.parametrize("loss", ["l1", "mse"])
def test_eq_1_with_both_networks(loss):
    u, f = small_framework()
    y, x, epsilon = torch.randn(3, 2, 3, 8, 8)
    gamma, scalars = torch.tensor([0.9, 0.2]), {"jpeg_quality": torch.tensor([10.0, float("nan")])}
    found = residual_loss(
        u, f, y, x, epsilon, gamma.sqrt(), scalars,
        residual_scale=1.0, loss=loss, predictor_training="joint",
    )  # fmt: skip
    with torch.no_grad():
        guidance = u(x).numpy()
        g = gamma.numpy()[:, None, None, None]
        noisy = np.sqrt(g) * (y.numpy() - guidance) + np.sqrt(1 - g) * epsilon.numpy()
        guess = f(torch.from_numpy(noisy), x, torch.from_numpy(guidance), gamma.sqrt(), scalars).numpy()
    difference = guess - epsilon.numpy()
    norm = np.abs(difference) if loss == "l1" else difference**2
    assert found["noise"].item() == pytest.approx(norm.mean(), rel=1e-4)
    assert found["predictor"] == 0, "Sec. 3.1: one loss trains both"


def test_eq_1_trains_both_networks_together():
    u, f = small_framework()
    y, x, epsilon = torch.randn(3, 2, 3, 8, 8)
    found = residual_loss(
        u, f, y, x, epsilon, torch.tensor([0.9, 0.2]), {},
        residual_scale=1.0, loss="l1", predictor_training="joint",
    )  # fmt: skip
    sum(found.values()).backward()
    assert all(p.grad is not None for p in u.parameters())
    assert max(p.grad.abs().max() for p in u.parameters()) > 0
    assert max(p.grad.abs().max() for p in f.parameters() if p.grad is not None) > 0


def test_the_preset_trains_by_eq_1():
    settings = PRESETS["paper"].diffusion
    assert (settings.loss, settings.predictor_training, settings.residual_scale) == ("l1", "joint", 1.0)
    assert settings.focus_probability == 0, "γ ~ p(γ) from the whole schedule"


# ----------------------------------------------------------------- Eq. 2: F_ij = Σ_b M_ij[b] W_b,  M = G·S


def test_eq_2_pixel_by_pixel_in_the_module():
    channels, n = 6, 3
    module = AdaptiveKernelGuidance(channels, guidance_channels=3, kernel_bases=n, scalar_channels=4)
    x, image, embedding = torch.randn(1, channels, 4, 5), torch.randn(1, 3, 4, 5), torch.randn(1, 4)
    with torch.no_grad():
        result = module(x, image, embedding)[0].double().numpy()
        g = module.guidance(image)[0].double().numpy()  # [N,H,W]
        s = module.scalars(embedding)[0].double().numpy()  # [N]
    bases = module.bases.detach().double().numpy()
    width = channels // n
    kernels = np.zeros((n, channels, channels, 3, 3))  # W_b, grouped: zero between groups
    for b, out, i in np.ndindex(n, channels, width):
        kernels[b, out, out // width * width + i] = bases[out * n + b, i]
    padded = np.pad(x[0].double().numpy(), ((0, 0), (1, 1), (1, 1)))
    for i, j in np.ndindex(4, 5):
        fused = sum(g[b, i, j] * s[b] * kernels[b] for b in range(n))  # F_ij
        expected = np.einsum("ocuv,cuv->o", fused, padded[:, i : i + 3, j : j + 3])
        np.testing.assert_allclose(result[:, i, j] - module.bias.detach().numpy(), expected, atol=1e-5)


def test_akgm_costs_about_one_convolution():
    """Sec. 3.2, computational analysis: H·W·C²·k² for grouped bases, N times as much for whole ones."""
    c, n, side = 64, 8, 32
    with torch.device("meta"):
        module = AdaptiveKernelGuidance(c, guidance_channels=3, kernel_bases=n, scalar_channels=16)
        inputs = torch.empty(1, c, side, side), torch.empty(1, 3, side, side), torch.empty(1, 16)
        convolution, x = nn.Conv2d(c, c, 3, padding=1), inputs[0]
    counts = []
    for function in (lambda: module(*inputs), lambda: convolution(x)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            function()
        counts.append(counter.get_total_flops() / 2)
    assert counts[1] == side**2 * c**2 * 9
    assert counts[1] <= counts[0] < 1.05 * counts[1], "the additional workload is minimal"


# --------------------------------------------------------------------------------- Fig. 1 and Sec. 3.1, 3.2


def test_every_block_is_conditioned_and_has_two_convolutions_each_after_a_layer_norm():
    _, f = small_framework()
    blocks = [m for m in f.modules() if isinstance(m, BasicModule)]
    assert len(blocks) == 3
    for block in blocks:
        assert isinstance(block.norm1, LayerNorm)
        assert isinstance(block.norm2, LayerNorm)
        assert isinstance(block.conv1, nn.Conv2d)
        assert isinstance(block.conv2, AdaptiveKernelGuidance)
        assert isinstance(block.activation, nn.SiLU)


def test_guidance_and_scalars_reach_every_block():
    u, f = small_framework()
    noisy, x = torch.randn(2, 1, 3, 8, 8)
    guidance = u(x)
    seen = []
    for block in (m for m in f.modules() if isinstance(m, BasicModule)):
        block.register_forward_hook(lambda _, inputs, __: seen.append(inputs))
    f(noisy, x, guidance, torch.tensor([0.4]), {})
    assert len(seen) == 3
    for features, scaled, embedding in seen:
        assert scaled.shape[2:] == features.shape[2:], "the guidance is first scaled to the feature map"
        cell = 8 // features.shape[2]
        by_hand = guidance.unflatten(3, (-1, cell)).unflatten(2, (-1, cell)).mean((3, 5))
        torch.testing.assert_close(scaled, by_hand)
        assert embedding is seen[0][2]


def test_each_block_has_a_skip_connection():
    block = BasicModule(4, DiffusionModelConfig(kernel_bases=2, scalar_channels=4))
    nn.init.zeros_(block.conv2.bases)
    x = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(x, torch.randn(1, 3, 6, 6), torch.randn(1, 4)), x)


# ------------------------------------------------------------------------------------------------ Sec. 4.2


def test_numbers_of_sec_4_2():
    config = PRESETS["paper"]
    assert config.diffusion.timesteps == 2000
    assert config.sampling.steps == 50
    assert (config.sampling.start_fraction, config.sampling.eta, config.sampling.sampler) == (
        1.0,
        1.0,
        "ddpm",
    )
    assert config.training.ema_decay == 0.9999
    assert config.training.steps == 500_000
    assert config.training.learning_rate == 1e-4
    assert NoiseSchedule.of(config.diffusion).levels()[-1] < 0.01, "sampling may start from pure noise"
