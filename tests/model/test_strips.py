"""The form of Eq. 2 for processors with products of 16 bits equals the written-out one; it has no gradient."""

import pytest
import torch
from torch import nn

from ucdir.model.akgm import akgm_reference
from ucdir.model.kernels import akgm_strips, strips, weights_kept

CASES = [  # C, N, k, batch, height, width
    (4, 2, 3, 1, 5, 7),
    (8, 4, 3, 2, 6, 3),
    (6, 3, 3, 3, 1, 1),
    (5, 1, 3, 2, 7, 2),
    (4, 2, 5, 2, 3, 9),
    (4, 4, 1, 1, 8, 1),
    (12, 2, 3, 1, 1, 11),
]


def values(*sizes, dtype=torch.float64):
    """x, mixing and bases of the sizes C, N, k, batch, height, width."""
    c, n, k, batch, height, width = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, c, height, width), (batch, n, height, width), (c * n, c // n, k, k)
    return [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("numbers", "rows"), [(2**22, 16), (1, 1), (160, 2)])
def test_strips_equal_the_reference(case, numbers, rows, monkeypatch):
    monkeypatch.setattr(strips, "NUMBERS", numbers)
    monkeypatch.setattr(strips, "ROWS", rows)
    inputs = values(*case)
    result = akgm_strips(*inputs)
    torch.testing.assert_close(result, akgm_reference(*inputs), rtol=1e-11, atol=1e-11)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "layout",
    [
        lambda t: t.contiguous(memory_format=torch.channels_last),
        lambda t: t.repeat_interleave(2, dim=-1)[..., ::2],
        lambda t: t.transpose(-1, -2).contiguous().transpose(-1, -2),
    ],
)
def test_memory_layout_does_not_matter(layout):
    inputs = values(8, 4, 3, 2, 6, 5)
    result = akgm_strips(*(layout(t) for t in inputs))
    torch.testing.assert_close(result, akgm_reference(*inputs), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("autocast", [False, True])
def test_16_bits(autocast):
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
    x, mixing, bases = values(8, 4, 3, 1, 6, 5)
    parameter = nn.Parameter(bases)
    expected = akgm_reference(x, mixing, bases)
    with weights_kept("cpu"):
        for _ in range(3):
            torch.testing.assert_close(akgm_strips(x, mixing, parameter), expected)
        assert len(arranged) == 1
        with torch.autocast("cpu", torch.bfloat16):  # the same parameter, in other arithmetic
            assert akgm_strips(x, mixing, parameter).dtype == torch.bfloat16
        assert len(arranged) == 2
        torch.testing.assert_close(akgm_strips(x, mixing, nn.Parameter(bases * 2)), 2 * expected)
        torch.testing.assert_close(akgm_strips(x, mixing, bases * 3), 3 * expected)


def test_control_otherwise_changed_weights_count_however_they_were_changed(arranged):
    x, mixing, bases = values(8, 4, 3, 1, 6, 5)
    parameter = nn.Parameter(bases.clone())
    expected = akgm_reference(x, mixing, bases)
    for _ in range(2):
        with weights_kept("cpu"):
            akgm_strips(x, mixing, parameter)
    assert len(arranged) == 2
    parameter.data.mul_(3)  # which PyTorch does not count as a change
    torch.testing.assert_close(akgm_strips(x, mixing, parameter), 3 * expected)
    with weights_kept("cpu"):
        torch.testing.assert_close(akgm_strips(x, mixing, parameter), 3 * expected)
