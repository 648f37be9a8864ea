"""The preconditioned output: ε as its best linear guess plus what the network makes of it."""

import numpy as np
import pytest
import torch

from ucdir.config import DiffusionModelConfig
from ucdir.model.diffusion_model import DiffusionModel, precondition, precondition_residual

LEVELS = torch.tensor([0.999, 0.9, 0.45, 0.01])
S = 0.3


def drawn(levels=LEVELS, pixels=40_000):
    generator = torch.Generator().manual_seed(0)
    residual = S * torch.randn(len(levels), 3, 1, pixels, generator=generator)
    noise = torch.randn(residual.shape, generator=generator)
    root = levels[:, None, None, None]
    return root * residual + (1 - root**2).sqrt() * noise, noise, root


def test_an_output_of_nothing_is_the_best_linear_guess():
    noisy, noise, _ = drawn()
    guess = precondition(noisy, torch.zeros_like(noisy), LEVELS, S)
    error = (guess - noise).square().mean(dim=(1, 2, 3))
    for i, level in enumerate(LEVELS):
        slope = float((noisy[i] * noise[i]).mean() / noisy[i].square().mean())
        least = (slope * noisy[i] - noise[i]).square().mean()
        assert float(error[i]) == pytest.approx(float(least), rel=0.01)
        expected = float(level**2 * S**2 / (level**2 * S**2 + 1 - level**2))
        assert float(error[i]) == pytest.approx(expected, rel=0.02)


def test_what_the_network_has_to_give_is_of_unit_variance():
    noisy, noise, _ = drawn()
    guess = precondition(noisy, torch.zeros_like(noisy), LEVELS, S)
    scale = guess - precondition(noisy, torch.ones_like(noisy), LEVELS, S)
    wanted = (guess - noise) / scale
    assert torch.allclose(wanted.std(dim=(1, 2, 3)), torch.ones(4), rtol=0.02)
    assert torch.allclose(precondition(noisy, wanted, LEVELS, S), noise, atol=1e-4)
    # and it does not depend on the noisy residual any more
    for i in range(4):
        assert abs(np.corrcoef(wanted[i].flatten(), noisy[i].flatten())[0, 1]) < 0.02


def test_sigma_data_0_is_the_plain_network():
    noisy, output = torch.randn(2, 4, 3, 5, 5)
    assert precondition(noisy, output, LEVELS, 0.0) is output
    assert precondition_residual(noisy, output, LEVELS, 0.0) is output


def test_the_residual_is_that_of_the_noise():
    """Eq. 1 solved, with the same output of the network; and c_skip, c_out of EDM, Table 1."""
    noisy, output, levels = *torch.randn(2, 4, 3, 5, 5).double(), LEVELS.double()
    root, sigma = levels[:, None, None, None], ((1 - levels**2).sqrt() / levels)[:, None, None, None]
    found = precondition_residual(noisy, output, LEVELS, S)
    solved = (noisy - (1 - root**2).sqrt() * precondition(noisy, output, LEVELS, S)) / root
    torch.testing.assert_close(found[:3], solved[:3], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[3:], solved[3:], atol=1e-4, rtol=0)  # divided by 0.01
    edm = S**2 / (S**2 + sigma**2) * noisy / root + S * sigma / (S**2 + sigma**2).sqrt() * output
    torch.testing.assert_close(found, edm, atol=1e-6, rtol=0)


def test_on_the_straight_path_the_network_gives_little_more():
    """The residual that it has to add to the linear guess, over c_out, at all shares of the signal and noise levels."""
    a = torch.linspace(0.01, 0.99, 99)
    for start in (0.5, 1.2, 5.0):
        sigma = (1 - a) * start
        skip, scale = S**2 / (S**2 + sigma**2), S * sigma / (S**2 + sigma**2).sqrt()
        variance = ((1 - skip * a) ** 2 * S**2 + skip**2 * sigma**2) / scale**2
        assert float(variance.max()) < 1.5**2


def test_the_model_uses_it():
    config = DiffusionModelConfig(
        channels=8, multipliers=(1,), blocks=(1,), kernel_bases=2, scalar_channels=8, sigma_data=S
    )
    model = DiffusionModel(config)
    image = torch.randn(4, 3, 8, 8)
    with torch.no_grad():  # the head of a fresh network is zero
        predicted = model(image, image, image, LEVELS, {})
    assert torch.allclose(predicted, precondition(image, torch.zeros_like(image), LEVELS, S))
