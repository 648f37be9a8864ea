"""The forms of Eq. 2 in PyTorch equal the written-out one: `grouped` in every gradient too, `strips` in value."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ucdir.model.akgm import strips
from ucdir.model.akgm.cached_cast import cached_casts
from ucdir.model.akgm.grouped import akgm_grouped
from ucdir.model.akgm.reference import akgm_reference, full_bases
from ucdir.model.akgm.strips import akgm_strips

CASES = [  # C, N, k, batch, height, width
    (4, 2, 3, 1, 5, 7),
    (8, 4, 3, 2, 6, 3),
    (6, 3, 3, 3, 1, 1),
    (8, 8, 3, 2, 4, 5),
    (5, 1, 3, 2, 7, 2),
    (4, 2, 5, 2, 3, 9),
    (4, 4, 1, 1, 8, 1),
    (12, 2, 3, 1, 1, 11),
]


def draw(*sizes, dtype=torch.float64):
    """x, fusion_weights and bases of the sizes C, N, k, batch, height, width."""
    c, n, k, batch, height, width = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, c, height, width), (batch, n, height, width), (c * n, c // n, k, k)
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def value_and_gradients(function, inputs, weight):
    result = function(*inputs)
    return [result.detach(), *torch.autograd.grad((result * weight).sum(), inputs)]


def by_hand(x, fusion_weights, bases):
    """Eq. 2 with loops: x [C,H,W], fusion_weights [N,H,W], bases [C·N,C/N,k,k]; numpy."""
    channels, height, width = x.shape
    n, k = fusion_weights.shape[0], bases.shape[-1]
    group = channels // n
    result = np.zeros_like(x)
    for o, i, j in np.ndindex(channels, height, width):
        first = o // group * group  # the group's first input channel
        for b, c, u, v in np.ndindex(n, group, k, k):
            y, z = i + u - k // 2, j + v - k // 2
            if 0 <= y < height and 0 <= z < width:
                result[o, i, j] += fusion_weights[b, i, j] * bases[o * n + b, c, u, v] * x[first + c, y, z]
    return result


# ------------------------------------------------------------------------------------- the reference, grouped


@pytest.mark.parametrize("case", CASES[:3])
def test_reference_is_eq_2_by_hand(case):
    x, fusion_weights, bases = (t.detach() for t in draw(*case))
    expected = [by_hand(a.numpy(), m.numpy(), bases.numpy()) for a, m in zip(x, fusion_weights, strict=True)]
    np.testing.assert_allclose(
        akgm_reference(x, fusion_weights, bases), np.stack(expected), rtol=1e-12, atol=1e-12
    )


def test_control_shuffled_bases_give_something_else():
    x, fusion_weights, bases = (t.detach() for t in draw(*CASES[1]))
    expected = akgm_reference(x, fusion_weights, bases)
    by_basis = bases.view(8, 4, 2, 3, 3)
    for shuffled in (by_basis.flip(1), by_basis.flip(0), by_basis.flip(2), by_basis.transpose(0, 1)):
        wrong = akgm_grouped(x, fusion_weights, shuffled.reshape(bases.shape))
        assert (wrong - expected).abs().mean() > 0.1 * expected.abs().mean()


@pytest.mark.parametrize("case", CASES)
def test_grouped_equals_reference_with_all_gradients(case):
    inputs = draw(*case)
    weight = torch.randn_like(inputs[0])
    ours = value_and_gradients(akgm_grouped, inputs, weight)
    theirs = value_and_gradients(akgm_reference, inputs, weight)
    for name, a, b in zip(("value", "x", "fusion_weights", "bases"), ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("case", [(4, 2, 3, 2, 3, 4), (3, 3, 3, 1, 2, 3), (2, 1, 1, 1, 3, 2)])
def test_gradcheck(case):
    assert torch.autograd.gradcheck(akgm_grouped, draw(*case))


@pytest.mark.parametrize("wanted", [c for r in (1, 2) for c in itertools.combinations(range(3), r)])
def test_gradients_of_some_arguments_only(wanted):
    inputs = draw(*CASES[1])
    every = torch.autograd.grad(akgm_grouped(*inputs).sum(), inputs)
    some = [t if i in wanted else t.detach() for i, t in enumerate(inputs)]
    gradients = torch.autograd.grad(akgm_grouped(*some).sum(), [some[i] for i in wanted])
    for i, gradient in zip(wanted, gradients, strict=True):
        torch.testing.assert_close(gradient, every[i], rtol=0, atol=0)


def channels_last(t):
    return t.contiguous(memory_format=torch.channels_last)


def every_second(t):
    return t.repeat_interleave(2, dim=-1)[..., ::2]


def turned(t):
    return t.transpose(-1, -2).contiguous().transpose(-1, -2)


@pytest.mark.parametrize("layout", [channels_last, every_second, turned])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_layout_does_not_matter(layout, dtype):
    inputs = draw(8, 4, 3, 2, 6, 5, dtype=dtype)
    laid_out = [layout(t.detach()).requires_grad_() for t in inputs]
    assert not laid_out[0].is_contiguous()
    weight = layout(torch.randn_like(inputs[0]))
    ours = value_and_gradients(akgm_grouped, laid_out, weight)
    theirs = value_and_gradients(akgm_reference, inputs, weight)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-5)


def test_expanded_fusion_weights_and_expanded_gradient():
    x, fusion_weights, bases = draw(8, 4, 3, 2, 6, 5)
    constant = fusion_weights[:, :, :1, :1].detach().requires_grad_()
    results = []
    for function in (akgm_grouped, akgm_reference):
        out = function(x, constant.expand_as(fusion_weights), bases)
        results.append(torch.autograd.grad(out.sum(), (x, constant, bases)))  # a gradient of stride 0
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_constant_fusion_weights_are_one_ordinary_convolution():
    x, fusion_weights, bases = (t.detach() for t in draw(8, 4, 3, 2, 6, 5))
    summed = full_bases(bases, 4).sum(0)
    ordinary = F.conv2d(x, summed, padding=1)
    torch.testing.assert_close(akgm_grouped(x, torch.ones_like(fusion_weights), bases), ordinary)
    one = torch.tensor([0.0, 1.0, 0.0, 0.0]).double().view(1, 4, 1, 1).expand_as(fusion_weights)
    chosen = F.conv2d(x, full_bases(bases, 4)[1], padding=1)
    torch.testing.assert_close(akgm_grouped(x, one, bases), chosen)
    assert (akgm_grouped(x, fusion_weights, bases) - ordinary).abs().mean() > 0.1, (
        "control: a varying M must show"
    )


def test_a_single_basis_is_a_scaled_convolution():
    x, fusion_weights, bases = (t.detach() for t in draw(*CASES[4]))
    torch.testing.assert_close(
        akgm_grouped(x, fusion_weights, bases), F.conv2d(x, bases, padding=1) * fusion_weights
    )


def test_bases_are_grouped_convolutions():
    x, _, bases = (t.detach() for t in draw(8, 4, 3, 2, 6, 5))
    full = full_bases(bases, 4)
    for b in range(4):
        grouped = F.conv2d(x, bases[b::4], padding=1, groups=4)
        torch.testing.assert_close(F.conv2d(x, full[b], padding=1), grouped)
    assert full.count_nonzero() == bases.numel() == full.numel() // 4


def test_inputs_are_left_alone():
    inputs = draw(*CASES[1])
    before = [t.detach().clone() for t in inputs]
    akgm_grouped(*inputs).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))


def test_without_gradients_nothing_is_kept():
    kept = []
    inputs = draw(*CASES[1])
    with (
        torch.no_grad(),
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t),
    ):
        quiet = akgm_grouped(*inputs)
    assert not kept
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, akgm_grouped(*inputs), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_on_the_cpu_is_in_half(dtype):
    inputs = draw(*CASES[1], dtype=torch.float32)
    # x as an autocast layer hands it over
    halved = [inputs[0].detach().to(dtype).requires_grad_(), *inputs[1:]]
    weight = torch.randn_like(inputs[0])
    with torch.autocast("cpu", dtype):
        result = akgm_grouped(*halved)
    assert result.dtype == dtype
    gradients = torch.autograd.grad((result * weight).sum(), halved)
    assert [g.dtype for g in gradients] == [dtype, torch.float32, torch.float32]
    exact = value_and_gradients(akgm_reference, inputs, weight)
    step = torch.finfo(dtype).eps
    for ours, theirs in zip((result, *gradients), exact, strict=True):
        error = (ours.detach().float() - theirs).norm() / theirs.norm()
        assert error < 2 * step
    assert (result - exact[0]).norm() > 0, "control: it is not in float32"


def test_shapes_without_numbers():
    result = akgm_grouped(*(t.detach().to("meta") for t in draw(*CASES[1])))
    assert result.shape == (2, 8, 6, 3)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own doing
@pytest.mark.parametrize("case", CASES[:2])
def test_torch_compile_follows_it_without_a_break(case):
    inputs = draw(*case)
    weight = torch.randn_like(inputs[0])
    compiled = torch.compile(akgm_grouped, backend="aot_eager", fullgraph=True, dynamic=False)
    ours = value_and_gradients(compiled, inputs, weight)
    for a, b in zip(ours, value_and_gradients(akgm_grouped, inputs, weight), strict=True):
        torch.testing.assert_close(a, b)


# --------------------------------------------------------------------------- strips, which have no gradient


def values(*sizes):
    """As `draw`, without gradients."""
    return [t.detach() for t in draw(*sizes)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("elements", "rows"), [(2**22, 16), (1, 1), (160, 2)])
def test_strips_equal_the_reference(case, elements, rows, monkeypatch):
    monkeypatch.setattr(strips, "MAX_ELEMENTS", elements)
    monkeypatch.setattr(strips, "MIN_ROWS", rows)
    inputs = values(*case)
    result = akgm_strips(*inputs)
    torch.testing.assert_close(result, akgm_reference(*inputs), rtol=1e-11, atol=1e-11)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [channels_last, every_second, turned])
def test_memory_layout_does_not_matter_to_strips(layout):
    inputs = values(8, 4, 3, 2, 6, 5)
    result = akgm_strips(*(layout(t) for t in inputs))
    torch.testing.assert_close(result, akgm_reference(*inputs), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("autocast", [False, True])
def test_strips_in_16_bits(autocast):
    inputs = values(32, 4, 3, 2, 33, 20)
    expected = akgm_reference(*inputs)
    dtype = torch.float32 if autocast else torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        result = akgm_strips(*(t.to(dtype) for t in inputs))
    assert result.dtype == torch.bfloat16
    error = (result.double() - expected).abs().max() / expected.abs().max()
    assert 1e-4 < error < 2e-2, "control: rounding to 8 bits must show"


@pytest.fixture
def arranged(monkeypatch):
    """One entry for each time that kernels are arranged."""
    calls = []
    arrange = strips.weights_by_group
    monkeypatch.setattr(strips, "weights_by_group", lambda *a: calls.append(1) or arrange(*a))
    return calls


def test_kernels_are_arranged_once_while_weights_are_kept(arranged):
    x, fusion_weights, bases = values(8, 4, 3, 1, 6, 5)
    parameter = nn.Parameter(bases)
    expected = akgm_reference(x, fusion_weights, bases)
    with cached_casts("cpu"):
        for _ in range(3):
            torch.testing.assert_close(akgm_strips(x, fusion_weights, parameter), expected)
        assert len(arranged) == 1
        with torch.autocast("cpu", torch.bfloat16):  # the same parameter, in other arithmetic
            assert akgm_strips(x, fusion_weights, parameter).dtype == torch.bfloat16
        assert len(arranged) == 2
        torch.testing.assert_close(akgm_strips(x, fusion_weights, nn.Parameter(bases * 2)), 2 * expected)
        torch.testing.assert_close(akgm_strips(x, fusion_weights, bases * 3), 3 * expected)


def test_control_otherwise_changed_weights_count_however_they_were_changed(arranged):
    x, fusion_weights, bases = values(8, 4, 3, 1, 6, 5)
    parameter = nn.Parameter(bases.clone())
    expected = akgm_reference(x, fusion_weights, bases)
    for _ in range(2):
        with cached_casts("cpu"):
            akgm_strips(x, fusion_weights, parameter)
    assert len(arranged) == 2
    parameter.data.mul_(3)  # which PyTorch does not count as a change
    torch.testing.assert_close(akgm_strips(x, fusion_weights, parameter), 3 * expected)
    with cached_casts("cpu"):
        torch.testing.assert_close(akgm_strips(x, fusion_weights, parameter), 3 * expected)
