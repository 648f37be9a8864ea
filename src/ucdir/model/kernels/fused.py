"""The AKGM (Eq. 2) as one kernel for GPUs, in Triton: an implicit GEMM of the grouped bases, mixed in its epilogue.

For a tile of pixels p and the output channels c of one group, a matrix product over the 3x3 neighbours and the group's
input channels i gives what every basis n would give, and the mixing weights sum it up before it is written:

    out[p,c] = Σ_n M[p,n] · A[p,n,c],      A[p,n,c] = Σ_{t,i} x[p+t, i] · W[t,i,n,c]

so the N·C channels of A are never in memory. The backward pass has one kernel for each argument, with G = ∂L/∂out:

    ∂L/∂M[p,n]     = Σ_c G[p,c] · A[p,n,c]                                  A made anew
    ∂L/∂x[q,i]     = Σ_{t,n,c} G[q-t,c] M[q-t,n] · W[t,i,n,c]               as convolution of G·M
    ∂L/∂W[t,i,n,c] = Σ_p x[p+t,i] · G[p,c] M[p,n]

Products are of the arguments' type, sums are in float32. Triton comes with PyTorch for GPUs; this file is imported only
there.
"""
# mypy: ignore-errors
# ruff: noqa: N803

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ucdir.model.kernels.arithmetic import autocast_dtype

COLUMNS = 128
"""Most columns N·c of a tile."""
SMALLEST = 16
"""Smallest side of a matrix product in Triton."""
SPLITS = 64
"""Programs that share the pixels of ∂L/∂W."""


def tile_pixels(count: int) -> int:
    """Pixels of a tile for N bases: of 64 and 128 what was faster on an H200 for most of C = 32 to 512."""
    return 128 if count >= 8 else 64


@triton.jit
def _neighbours(base, p, dy, dx, channel, limit, H, W, C, P):
    """x[p + (dy,dx), channel] for a tile, 0 beyond the border: [pixels, channels]."""
    row, col = (p // W) % H + dy, p % W + dx
    inside = (p < P) & (row >= 0) & (row < H) & (col >= 0) & (col < W)
    place = (p + dy * W + dx)[:, None] * C + channel[None, :]
    return tl.load(base + place, mask=inside[:, None] & limit[None, :], other=0.0)


@triton.jit
def _weights(w, group, tap, i, n, c, N: tl.constexpr, CG: tl.constexpr):
    """W[tap, i, n, c] of a group: [input channels, columns]."""
    place = ((group * 9 + tap) * CG + i)[:, None] * (N * CG) + (n * CG + c)[None, :]
    return tl.load(w + place, mask=(i < CG)[:, None] & (c < CG)[None, :], other=0.0)


@triton.jit
def _of_bases(
    x, w, p, group, n, c, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    """A of a tile: [pixels, N·c], float32."""
    total = tl.zeros((BP, N * BC), dtype=tl.float32)
    for tap in range(9):
        for start in range(0, CG, BK):
            i = start + tl.arange(0, BK)
            seen = _neighbours(x, p, tap // 3 - 1, tap % 3 - 1, group * CG + i, i < CG, H, W, C, P)
            total = tl.dot(seen, _weights(w, group, tap, i, n, c, N, CG), total, input_precision="ieee")
    return total


@triton.jit
def _forward(
    x, m, w, out, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(CG, BC)
    group, first = tl.program_id(1) // tiles, (tl.program_id(1) % tiles) * BC
    p = tl.program_id(0) * BP + tl.arange(0, BP)
    j = tl.arange(0, N * BC)
    total = _of_bases(x, w, p, group, j // BC, first + j % BC, H, W, C, P, N, CG, BP, BC, BK)
    mixing = tl.load(m + p[:, None] * N + tl.arange(0, N)[None, :], mask=(p < P)[:, None], other=0.0)
    mixed = tl.sum(tl.reshape(total, (BP, N, BC)) * mixing[:, :, None].to(tl.float32), axis=1)
    c = first + tl.arange(0, BC)
    place = p[:, None] * C + (group * CG + c)[None, :]
    tl.store(out + place, mixed.to(out.dtype.element_ty), mask=(p < P)[:, None] & (c < CG)[None, :])


@triton.jit
def _grad_mixing(
    x, w, grad, grad_m, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0) * BP + tl.arange(0, BP)
    j = tl.arange(0, N * BC)
    found = tl.zeros((BP, N), dtype=tl.float32)
    for group in range(N):
        for first in range(0, CG, BC):
            total = _of_bases(x, w, p, group, j // BC, first + j % BC, H, W, C, P, N, CG, BP, BC, BK)
            c = first + tl.arange(0, BC)
            g = _neighbours(grad, p, 0, 0, group * CG + c, c < CG, H, W, C, P).to(tl.float32)
            found += tl.sum(tl.reshape(total, (BP, N, BC)) * g[:, None, :], axis=2)
    place = p[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(grad_m + place, found.to(grad_m.dtype.element_ty), mask=(p < P)[:, None])


@triton.jit
def _mixed_gradient(
    grad, m, p, dy, dx, group, first, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr,
    BC: tl.constexpr,
):  # fmt: skip
    """G[p+t,c]·M[p+t,n] of a tile: [pixels, N·c] of the arguments' type."""
    c = first + tl.arange(0, BC)
    n = tl.arange(0, N)
    g = _neighbours(grad, p, dy, dx, group * CG + c, c < CG, H, W, C, P)
    mixing = _neighbours(m, p, dy, dx, n, n < N, H, W, N, P)
    product = mixing[:, :, None].to(tl.float32) * g[:, None, :].to(tl.float32)
    return tl.reshape(product, (BP, N * BC)).to(grad.dtype.element_ty)


@triton.jit
def _grad_input(
    grad, m, w, grad_x, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(CG, BK)
    group, start = tl.program_id(1) // tiles, (tl.program_id(1) % tiles) * BK
    p = tl.program_id(0) * BP + tl.arange(0, BP)
    i = start + tl.arange(0, BK)
    j = tl.arange(0, N * BC)
    total = tl.zeros((BP, BK), dtype=tl.float32)
    for tap in range(9):
        for first in range(0, CG, BC):
            dy, dx = 1 - tap // 3, 1 - tap % 3  # from the pixel that was read back to the one that read it
            product = _mixed_gradient(grad, m, p, dy, dx, group, first, H, W, C, P, N, CG, BP, BC)
            weights = _weights(w, group, tap, i, j // BC, first + j % BC, N, CG)
            total = tl.dot(product, tl.trans(weights), total, input_precision="ieee")
    place = p[:, None] * C + (group * CG + i)[None, :]
    tl.store(grad_x + place, total.to(grad_x.dtype.element_ty), mask=(p < P)[:, None] & (i < CG)[None, :])


@triton.jit
def _grad_weights(
    x, grad, m, grad_w, share, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr,
    BC: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    tiles_i, tiles_c = tl.cdiv(CG, BK), tl.cdiv(CG, BC)
    number, tap = tl.program_id(1), tl.program_id(2)
    group = number // (tiles_i * tiles_c)
    start = (number // tiles_c) % tiles_i * BK
    first = number % tiles_c * BC
    i = start + tl.arange(0, BK)
    j = tl.arange(0, N * BC)
    total = tl.zeros((BK, N * BC), dtype=tl.float32)
    begin = tl.program_id(0) * share
    for offset in range(0, share, BP):
        p = begin + offset + tl.arange(0, BP)
        seen = _neighbours(x, p, tap // 3 - 1, tap % 3 - 1, group * CG + i, i < CG, H, W, C, P)
        product = _mixed_gradient(grad, m, p, 0, 0, group, first, H, W, C, P, N, CG, BP, BC)
        total = tl.dot(tl.trans(seen), product, total, input_precision="ieee")
    n, c = j // BC, first + j % BC
    place = ((group * 9 + tap) * CG + i)[:, None] * (N * CG) + (n * CG + c)[None, :]
    tl.atomic_add(grad_w + place, total, mask=(i < CG)[:, None] & (c < CG)[None, :])


# ---------------------------------------------------------------------------------------------------- autograd


def fits(mixing: Tensor, bases: Tensor) -> bool:
    """Whether the kernel takes these: N a power of two, kernels of 3x3."""
    count = mixing.shape[1]
    return count & (count - 1) == 0 and bases.shape[-1] == 3


def akgm_fused(x: Tensor, mixing: Tensor, bases: Tensor) -> Tensor:
    """Eq. 2 at every pixel; arguments and result as in `model.akgm.akgm_reference`, N a power of two.

    Differentiable once in all three arguments. Under autocast all is of its dtype.
    """
    dtype = autocast_dtype(x.device.type)
    if dtype is not None:
        x, mixing, bases = x.to(dtype), mixing.to(dtype), bases.to(dtype)
    with torch.cuda.device_of(x):  # Triton launches on the current device; nothing happens on a CPU
        return _Fused.apply(x, mixing, bases)


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _sizes(count: int, width: int) -> dict[str, int]:
    """Constants of the kernels for N bases and groups of so many channels."""
    columns = max(SMALLEST // count, min(_power(width), COLUMNS // count), 1)
    inner = max(SMALLEST, min(_power(width), 32))
    return {"N": count, "CG": width, "BP": tile_pixels(count), "BC": columns, "BK": inner}


def _packed(bases: Tensor, count: int) -> Tensor:
    """[C·N, C/N, 3, 3] -> [group, tap, input channel, n, c], contiguous."""
    width = bases.shape[1]
    by_group = bases.view(count, width, count, width, 9)  # group, c, n, i, tap
    return by_group.permute(0, 4, 3, 2, 1).contiguous()


def _unpacked(weights: Tensor) -> Tensor:
    """The inverse of `_packed`."""
    count, _, width = weights.shape[:3]
    return weights.permute(0, 4, 3, 2, 1).reshape(count * width * count, width, 3, 3)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mixing: Tensor, bases: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        count = mixing.shape[1]
        pixels = x.permute(0, 2, 3, 1).contiguous()
        m = mixing.permute(0, 2, 3, 1).contiguous()
        weights = _packed(bases, count)
        out = torch.empty_like(pixels)
        sizes, total = _sizes(count, channels // count), batch * height * width
        grid = (triton.cdiv(total, sizes["BP"]), count * triton.cdiv(sizes["CG"], sizes["BC"]))
        _forward[grid](pixels, m, weights, out, height, width, channels, total, **sizes)
        ctx.save_for_backward(pixels, m, weights)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.cuda.device_of(grad):
            return _gradients(ctx, grad)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    pixels, m, weights = ctx.saved_tensors
    batch, height, width, channels = pixels.shape
    count, total = m.shape[3], batch * height * width
    sizes = _sizes(count, channels // count)
    shape = (height, width, channels, total)
    g = grad.to(pixels.dtype).permute(0, 2, 3, 1).contiguous()
    tiles = triton.cdiv(total, sizes["BP"])
    inner, outer = triton.cdiv(sizes["CG"], sizes["BK"]), triton.cdiv(sizes["CG"], sizes["BC"])
    grad_x = grad_m = grad_bases = None
    if ctx.needs_input_grad[0]:
        grad_x = torch.empty_like(pixels)
        _grad_input[tiles, count * inner](g, m, weights, grad_x, *shape, **sizes)
        grad_x = grad_x.permute(0, 3, 1, 2)
    if ctx.needs_input_grad[1]:
        grad_m = torch.empty_like(m)
        _grad_mixing[(tiles,)](pixels, weights, g, grad_m, *shape, **sizes)
        grad_m = grad_m.permute(0, 3, 1, 2)
    if ctx.needs_input_grad[2]:
        grad_w = torch.zeros_like(weights, dtype=torch.float32)
        share = triton.cdiv(triton.cdiv(total, min(SPLITS, tiles)), sizes["BP"]) * sizes["BP"]
        grid = (triton.cdiv(total, share), count * inner * outer, 9)
        _grad_weights[grid](pixels, g, m, grad_w, share, *shape, **sizes)
        grad_bases = _unpacked(grad_w).to(weights.dtype)
    return grad_x, grad_m, grad_bases
