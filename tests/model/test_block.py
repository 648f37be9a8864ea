"""Basic module and conditional integration module are what Sec. 3.2 says, recomputed from the parameters."""

import pytest
import torch
import torch.nn.functional as F

from ucdir.config import DiffusionModelConfig
from ucdir.model.akgm.reference import akgm_reference
from ucdir.model.block import BLOCKS
from ucdir.model.cim import INJECTIONS, AdaptiveKernelGuidance
from ucdir.model.layers import ACTIVATIONS, NORMS


def make_block(
    norm="layer_norm", activation="swish", injection="akgm", spatial_guidance="initial", block="basic"
):
    config = DiffusionModelConfig(
        norm=norm, activation=activation, injection=injection, spatial_guidance=spatial_guidance, kernel_bases=4,
        scalar_channels=6,
    )  # fmt: skip
    return BLOCKS[block](8, config).double()


def conditions():
    return torch.randn(2, 8, 6, 5).double(), torch.randn(2, 3, 6, 5).double(), torch.randn(2, 6).double()


def swish(x):
    return x / (1 + torch.exp(-x))


def layer_norm(x, weight, bias):
    centred = x - x.mean(1, keepdim=True)
    unit = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-6)
    return unit * weight[None, :, None, None] + bias[None, :, None, None]


def integration(p, prefix, x, guidance, scalars):
    """The CIM by its description: (G, S, result)."""
    h = F.conv2d(guidance, p[f"{prefix}guidance.0.weight"], p[f"{prefix}guidance.0.bias"])
    gated = h[:, :8] * h[:, 8:]  # SimpleGate
    g = F.conv2d(gated, p[f"{prefix}guidance.2.weight"], p[f"{prefix}guidance.2.bias"], padding=1)
    s = swish(scalars @ p[f"{prefix}scalars.0.weight"].T + p[f"{prefix}scalars.0.bias"])
    s = s @ p[f"{prefix}scalars.2.weight"].T + p[f"{prefix}scalars.2.bias"]
    m = torch.einsum("bnhw,bn->bnhw", g, s)
    bias = p[f"{prefix}bias"].view(1, -1, 1, 1)
    return g, s, akgm_reference(x, m, p[f"{prefix}bases"]) + bias


def test_cim_by_hand(filled):
    module = filled(
        AdaptiveKernelGuidance(8, guidance_channels=3, kernel_bases=4, scalar_channels=6).double()
    )
    x, guidance, scalars = conditions()
    parameters = dict(module.named_parameters())
    g, s, expected = integration(parameters, "", x, guidance, scalars)
    torch.testing.assert_close(module(x, guidance, scalars), expected)
    assert g.shape == (2, 4, 6, 5)
    assert s.shape == (2, 4)


def test_g_comes_from_the_guidance_alone_and_s_from_the_scalars_alone(filled):
    module = filled(
        AdaptiveKernelGuidance(8, guidance_channels=3, kernel_bases=4, scalar_channels=6).double()
    )
    x, guidance, scalars = conditions()
    before = module(x, guidance, scalars)
    near = guidance.clone()
    near[0, :, 2, 2] += 1  # reaches the 3x3 pixels around, of the first image
    changed = (module(x, near, scalars) - before).abs().sum(1) > 0
    expected = torch.zeros_like(changed)
    expected[0, 1:4, 1:4] = True
    assert torch.equal(changed, expected)
    other = scalars.clone()
    other[1] += 1  # reaches every pixel of the second image
    changed = (module(x, guidance, other) - before).abs().sum(1) > 0
    assert torch.equal(changed, torch.tensor([False, True])[:, None, None].expand_as(changed))


def test_fresh_weights_start_as_an_ordinary_convolution():
    module = AdaptiveKernelGuidance(16, guidance_channels=3, kernel_bases=4, scalar_channels=8)
    fusion_weights = (
        module.guidance(torch.zeros(1, 3, 4, 4)) * module.scalars(torch.zeros(1, 8))[:, :, None, None]
    )
    assert (fusion_weights - 1).abs().max() < 0.75
    assert fusion_weights.mean().item() == pytest.approx(1, abs=0.4)


def block_by_hand(block, x, guidance, scalars):
    p = dict(block.named_parameters())
    h = layer_norm(x, p["norm1.weight"], p["norm1.bias"])
    h = swish(F.conv2d(h, p["conv1.weight"], p["conv1.bias"], padding=1))
    h = layer_norm(h, p["norm2.weight"], p["norm2.bias"])
    return x + swish(integration(p, "conv2.", h, guidance, scalars)[2])


def test_basic_module_by_hand(filled):
    block = filled(make_block())
    inputs = conditions()
    torch.testing.assert_close(block(*inputs), block_by_hand(block, *inputs))


def test_control_another_order_shows(filled):
    block = filled(make_block())
    inputs = conditions()
    block.norm1, block.norm2 = block.norm2, block.norm1
    swapped = block(*inputs)
    block.norm1, block.norm2 = block.norm2, block.norm1
    block.activation = torch.nn.Identity()
    linear = block(*inputs)
    expected = block_by_hand(block, *inputs)
    assert min((swapped - expected).abs().max(), (linear - expected).abs().max()) > 1e-2


def test_order_of_the_layers(filled):
    block = filled(make_block())
    seen = []
    for name, module in block.named_children():
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
    block(*conditions())
    assert seen == ["norm1", "conv1", "activation", "norm2", "conv2", "activation"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_name_builds_and_learns(norm, activation):
    block = make_block(norm, activation)
    result = block(*conditions())
    assert result.shape == (2, 8, 6, 5)
    result.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


# ------------------------------------------------------------------------------------------------ Table 4


@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize("guidance_channels", [0, 3, 8])
def test_every_injection_has_the_signature_of_its_siblings(injection, guidance_channels, filled):
    module = INJECTIONS[injection](
        8, guidance_channels=guidance_channels, kernel_bases=4, scalar_channels=6
    ).double()
    filled(module)
    x, _, scalars = conditions()
    guidance, other = torch.randn(2, 2, guidance_channels, 6, 5).double()
    result = module(x, guidance, scalars)
    assert result.shape == (2, 8, 6, 5)
    assert not torch.allclose(result, module(x, guidance, scalars + 1)), "scalars matter"
    assert torch.equal(result, module(x, other, scalars)) == (guidance_channels == 0), "and so does guidance"


def features(p, guidance, scalars, prefix="conditions."):
    """Guidance and scalars as features, by their description."""
    h = F.conv2d(guidance, p[f"{prefix}guidance.0.weight"], p[f"{prefix}guidance.0.bias"])
    g = F.conv2d(h[:, :8] * h[:, 8:], p[f"{prefix}guidance.2.weight"], p[f"{prefix}guidance.2.bias"])
    s = swish(scalars @ p[f"{prefix}scalars.0.weight"].T + p[f"{prefix}scalars.0.bias"])
    return g + (s @ p[f"{prefix}scalars.2.weight"].T + p[f"{prefix}scalars.2.bias"])[:, :, None, None]


@pytest.mark.parametrize("injection", ["addition", "concatenation", "adain"])
def test_alternatives_by_hand(injection, filled):
    module = filled(INJECTIONS[injection](8, guidance_channels=3, kernel_bases=4, scalar_channels=6).double())
    x, guidance, scalars = conditions()
    p = dict(module.named_parameters())
    c = features(p, guidance, scalars)
    taken = {
        "addition": lambda: x + c,
        "concatenation": lambda: torch.cat([x, c], dim=1),
        "adain": lambda: (1 + c[:, :8]) * x + c[:, 8:],
    }[injection]()
    expected = F.conv2d(taken, p["conv.weight"], p["conv.bias"], padding=1)
    torch.testing.assert_close(module(x, guidance, scalars), expected)


def test_without_spatial_guidance_the_fusion_weights_are_the_scalars(filled):
    module = filled(
        AdaptiveKernelGuidance(8, guidance_channels=0, kernel_bases=4, scalar_channels=6).double()
    )
    x, _, scalars = conditions()
    m = module.scalars(scalars)[:, :, None, None].expand(2, 4, 6, 5)
    expected = akgm_reference(x, m, module.bases) + module.bias[:, None, None]
    torch.testing.assert_close(module(x, x[:, :0], scalars), expected)


def test_internal_guidance_is_the_normalised_features(filled):
    block = filled(make_block(spatial_guidance="internal"))
    x, guidance, scalars = conditions()
    p = dict(block.named_parameters())
    h = swish(
        F.conv2d(
            layer_norm(x, p["norm1.weight"], p["norm1.bias"]), p["conv1.weight"], p["conv1.bias"], padding=1
        )
    )
    h = layer_norm(h, p["norm2.weight"], p["norm2.bias"])
    expected = x + swish(integration(p, "conv2.", h, h, scalars)[2])
    torch.testing.assert_close(block(x, guidance, scalars), expected)


def test_block_of_dvsr_by_hand(filled):
    block = filled(make_block(block="dvsr"))
    x, guidance, scalars = conditions()
    p = dict(block.named_parameters())
    s = swish(scalars @ p["scalars.0.weight"].T + p["scalars.0.bias"])
    s = s @ p["scalars.2.weight"].T + p["scalars.2.bias"]
    h = F.conv2d(swish(x), p["conv1.weight"], p["conv1.bias"], padding=1) + s[:, :, None, None]
    expected = x + F.conv2d(swish(h), p["conv2.weight"], p["conv2.bias"], padding=1)
    torch.testing.assert_close(block(x, guidance, scalars), expected)
