"""Layers by their formulas; which of them are local."""

import pytest
import torch
import torch.nn.functional as F

from ucdir.model.layers import ACTIVATIONS, NORMS, Downsample, GroupNorm, LayerNorm, SimpleGate, Upsample


def image(*shape):
    return torch.randn(shape, dtype=torch.float64) * 3 + 1


def changed_pixels(layer, x, row, column):
    """Which output pixels change with one input pixel: [H,W] of bool."""
    other = x.clone()
    other[:, :, row, column] += 5.0 * torch.randn(x.shape[1]).double()
    return ((layer(other) - layer(x)).abs() > 0).any(1)[0]


def test_layer_norm_by_hand(filled):
    norm = filled(LayerNorm(6).double())
    x = image(2, 6, 5, 4)
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-6).sqrt() * scale + shift)


def test_layer_norm_is_fresh_with_mean_0_and_variance_1():
    out = LayerNorm(6).double()(image(2, 6, 5, 4))
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 5, 4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(out.var(1, correction=0), torch.ones(2, 5, 4).double(), rtol=0, atol=1e-5)


def test_layer_norm_is_local_and_group_norm_is_not(filled):
    x = image(1, 6, 5, 4)
    here = torch.zeros(5, 4, dtype=torch.bool)
    here[1, 2] = True
    assert torch.equal(changed_pixels(filled(LayerNorm(6).double()), x, 1, 2), here)
    assert changed_pixels(filled(GroupNorm(6).double()), x, 1, 2).all(), "control"


def test_layer_norm_of_equal_channels_is_finite():
    x = torch.ones(1, 6, 2, 2, requires_grad=True)
    out = LayerNorm(6)(x)
    out.sum().backward()
    assert out.abs().max() == 0
    assert x.grad.isfinite().all()


def test_norms_by_name():
    x = image(1, 64, 3, 3)
    groups = x.view(1, 2, 32, 3, 3)
    mean = groups.mean((2, 3, 4), keepdim=True)
    variance = groups.var((2, 3, 4), correction=0, keepdim=True)
    expected = ((groups - mean) / (variance + 1e-5).sqrt()).view_as(x)
    torch.testing.assert_close(NORMS["group_norm"](64).double()(x), expected)
    assert torch.equal(NORMS["none"](64)(x), x)
    assert NORMS["layer_norm"] is LayerNorm


def test_activations_by_name():
    x = image(100)
    torch.testing.assert_close(ACTIVATIONS["swish"]()(x), x * torch.sigmoid(x))
    torch.testing.assert_close(ACTIVATIONS["relu"]()(x), x.clamp(min=0))


def test_simple_gate():
    x = image(2, 6, 3, 4)
    assert torch.equal(SimpleGate()(x), x[:, :3] * x[:, 3:])


@pytest.mark.parametrize("pixel", [(4, 6), (5, 7), (4, 7)])
def test_downsample_looks_at_its_own_cell(filled, pixel):
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[2, 3] = True
    assert torch.equal(
        changed_pixels(filled(Downsample(3, 5).double()), image(1, 3, 8, 10), *pixel), expected
    )


def test_upsample_makes_a_cell_of_a_pixel(filled):
    layer = filled(Upsample(3, 5).double())
    x = image(1, 3, 4, 5)
    expected = torch.zeros(8, 10, dtype=torch.bool)
    expected[4:6, 6:8] = True
    assert torch.equal(changed_pixels(layer, x, 2, 3), expected)
    by_hand = torch.einsum("oc,bchw->bohw", layer.conv.weight[:, :, 0, 0], x) + layer.conv.bias[:, None, None]
    torch.testing.assert_close(layer(x), F.pixel_shuffle(by_hand, 2))
