"""The AKGM (Eq. 2) as one GPU kernel in Triton: an implicit GEMM of the grouped bases, with a weighted sum at its end.

For a tile of pixels p and the output channels c of one group, a matrix product over the 3x3 neighbours t and the
group's input channels i gives the output A of every basis n, and the fusion weights M add these up before one value
is written:

    out[p,c] = Σ_n M[p,n] · A[p,n,c],      A[p,n,c] = Σ_{t,i} x[p+t, i] · W[t,i,n,c]

so that the N·C channels of A are never in memory. The backward pass has one kernel per argument, with G = ∂L/∂out:

    ∂L/∂M[p,n]     = Σ_c G[p,c] · A[p,n,c]                                  A computed again
    ∂L/∂x[q,i]     = Σ_{t,n,c} G[q-t,c] M[q-t,n] · W[t,i,n,c]               a convolution of G·M
    ∂L/∂W[t,i,n,c] = Σ_p x[p+t,i] · G[p,c] M[p,n]

Products are in the arguments' dtype, sums in float32. Triton comes with PyTorch for GPUs; only there is this file
imported.
"""
# mypy: ignore-errors
# ruff: noqa: N803

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ucdir.model.akgm.cached_cast import cached_cast, compute_dtype, needs_gradients

SMALLEST = 16
"""Smallest side of a matrix product in Triton."""
SPLITS = 64
"""Programs among which the pixels of ∂L/∂W are split."""
LARGEST = 2**31
"""Elements of an argument from which on 32-bit offsets overflow."""
TILES = {
    "forward": {4: (128, 256, 32, 4), 8: (128, 256, 16, 4)},
    "fusion_weights": {4: (128, 256, 32, 3), 8: (128, 256, 32, 4)},
    "input": {4: (128, 128, 64, 3), 8: (128, 256, 64, 2)},
    "weights": {4: (64, 128, 128, 3), 8: (32, 128, 64, 3)},
}
"""Pixels, at most columns N·c, columns (t,i) or input channels, and pipeline stages, for N up to 4 and from 8 on.

The fastest of about 20 per kernel on an H200, averaged over C/N = 8 to 64.
"""


@triton.jit
def _inside(p, row, col, H, W, P):
    """A bit mask for each pixel: bit t says whether neighbour t lies in the image."""
    rows = tl.where(row > 0, 0b000000111, 0) | 0b000111000 | tl.where(row < H - 1, 0b111000000, 0)
    cols = tl.where(col > 0, 0b001001001, 0) | 0b010010010 | tl.where(col < W - 1, 0b100100100, 0)
    return tl.where(p < P, rows & cols, 0)


@triton.jit
def _of_pixels(base, p, inside, group, c, C, CG: tl.constexpr):
    """Channels c of a group at pixels of an image, 0 outside: [pixels, channels]."""
    place = p[:, None] * C + (group * CG + c)[None, :]
    return tl.load(base + place, mask=inside[:, None] & (c < CG)[None, :], other=0.0)


@triton.jit
def _fusion_weights(m, p, inside, N: tl.constexpr):
    """M of pixels, 0 outside: [pixels, N]."""
    return tl.load(m + p[:, None] * N + tl.arange(0, N)[None, :], mask=inside[:, None], other=0.0)


@triton.jit
def _columns(x, p, inside, group, step, W, C, CG: tl.constexpr, BK: tl.constexpr):
    """x[p+t, i] for the columns k = (t,i) of a group from step·BK on, 0 beyond the border: [pixels, BK]."""
    k = step * BK + tl.arange(0, BK)
    t = tl.minimum(k // CG, 9)  # 9: columns beyond the last, no neighbour
    place = ((t // 3 - 1) * W + t % 3 - 1) * C + group * CG + k % CG
    seen = (inside[:, None] >> t[None, :]) & 1 != 0
    return tl.load(x + (p * C)[:, None] + place[None, :], mask=seen, other=0.0)


@triton.jit
def _bases(w, group, k, first, N: tl.constexpr, CG: tl.constexpr, BC: tl.constexpr):
    """W[t,i,n,c] of a group for its columns k = (t,i): [columns, N·c]."""
    j = tl.arange(0, N * BC)
    c = first + j % BC
    place = (group * 9 * CG + k)[:, None] * (N * CG) + (j // BC * CG + c)[None, :]
    return tl.load(w + place, mask=(k < 9 * CG)[:, None] & (c < CG)[None, :], other=0.0)


@triton.jit
def _of_bases(
    x, w, p, group, first, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    """A of a tile: [pixels, N·c], float32."""
    inside = _inside(p, (p // W) % H, p % W, H, W, P)
    total = tl.zeros((BP, N * BC), dtype=tl.float32)
    for step in range((9 * CG + BK - 1) // BK):  # one loop over (t,i), which Triton can pipeline
        seen = _columns(x, p, inside, group, step, W, C, CG, BK)
        weights = _bases(w, group, step * BK + tl.arange(0, BK), first, N, CG, BC)
        total = tl.dot(seen, weights, total, input_precision="ieee")
    return total


@triton.jit
def _forward(
    x, m, w, out, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    parts: tl.constexpr = (CG + BC - 1) // BC
    # programs for the same pixels run together, so that they share the cache
    number = tl.program_id(0) % (N * parts)
    group, first = number // parts, number % parts * BC
    p = tl.program_id(0) // (N * parts) * BP + tl.arange(0, BP)
    fusion_weights = _fusion_weights(m, p, p < P, N)
    total = _of_bases(x, w, p, group, first, H, W, C, P, N, CG, BP, BC, BK)
    fused = tl.sum(tl.reshape(total, (BP, N, BC)) * fusion_weights[:, :, None].to(tl.float32), axis=1)
    c = first + tl.arange(0, BC)
    place = p[:, None] * C + (group * CG + c)[None, :]
    tl.store(out + place, fused.to(out.dtype.element_ty), mask=(p < P)[:, None] & (c < CG)[None, :])


@triton.jit
def _grad_fusion_weights(
    x, w, grad, grad_m, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    parts: tl.constexpr = (CG + BC - 1) // BC
    p = tl.program_id(0) * BP + tl.arange(0, BP)
    found = tl.zeros((BP, N), dtype=tl.float32)
    for number in range(N * parts):
        group, first = number // parts, number % parts * BC
        total = _of_bases(x, w, p, group, first, H, W, C, P, N, CG, BP, BC, BK)
        g = _of_pixels(grad, p, p < P, group, first + tl.arange(0, BC), C, CG).to(tl.float32)
        found += tl.sum(tl.reshape(total, (BP, N, BC)) * g[:, None, :], axis=2)
    place = p[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(grad_m + place, found.to(grad_m.dtype.element_ty), mask=(p < P)[:, None])


@triton.jit
def _weighted_gradient(
    grad, m, p, inside, group, first, C, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr
):
    """G[p,c]·M[p,n] of a tile: [pixels, N·c], in the arguments' dtype."""
    g = _of_pixels(grad, p, inside, group, first + tl.arange(0, BC), C, CG)
    fusion_weights = _fusion_weights(m, p, inside, N)
    return tl.reshape(fusion_weights[:, :, None] * g[:, None, :], (BP, N * BC))


@triton.jit
def _grad_input(
    grad, m, w, grad_x, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    parts: tl.constexpr = (CG + BC - 1) // BC
    inner: tl.constexpr = (CG + BK - 1) // BK
    number = tl.program_id(0) % (N * inner)
    group, i = number // inner, number % inner * BK + tl.arange(0, BK)
    p = tl.program_id(0) // (N * inner) * BP + tl.arange(0, BP)
    inside = _inside(p, (p // W) % H, p % W, H, W, P)
    total = tl.zeros((BP, BK), dtype=tl.float32)
    for step in range(9 * parts):
        # the pixel whose neighbour t this is, is this pixel's neighbour 8 - t
        t, first = step // parts, step % parts * BC
        reader = p + (1 - t // 3) * W + 1 - t % 3
        product = _weighted_gradient(
            grad, m, reader, (inside >> 8 - t) & 1 != 0, group, first, C, N, CG, BP, BC
        )
        weights = _bases(w, group, t * CG + i, first, N, CG, BC)
        total = tl.dot(product, tl.trans(weights), total, input_precision="ieee")
    place = p[:, None] * C + (group * CG + i)[None, :]
    tl.store(grad_x + place, total.to(grad_x.dtype.element_ty), mask=(p < P)[:, None] & (i < CG)[None, :])


@triton.jit
def _grad_weights(
    x, grad, m, grad_w, share, H, W, C, P, N: tl.constexpr, CG: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    parts: tl.constexpr = (CG + BC - 1) // BC
    rows: tl.constexpr = (9 * CG + BK - 1) // BK
    number = tl.program_id(0) % (N * parts * rows)
    group, first, step = number // (parts * rows), number // rows % parts * BC, number % rows
    p = tl.program_id(0) // (N * parts * rows) * share + tl.arange(0, BP)
    row, col = (p // W) % H, p % W
    total = tl.zeros((N * BC, BK), dtype=tl.float32)
    for _ in range(0, share, BP):
        seen = _columns(x, p, _inside(p, row, col, H, W, P), group, step, W, C, CG, BK)
        product = _weighted_gradient(grad, m, p, p < P, group, first, C, N, CG, BP, BC)
        total = tl.dot(tl.trans(product), seen, total, input_precision="ieee")
        # incremented, as divisions for every pixel would cost more than the product
        p += BP
        col += BP % W
        row += BP // W % H + (col >= W).to(tl.int32)
        col, row = tl.where(col >= W, col - W, col), tl.where(row >= H, row - H, row)
    k, j = step * BK + tl.arange(0, BK), tl.arange(0, N * BC)
    c = first + j % BC
    place = (group * 9 * CG + k)[None, :] * (N * CG) + (j // BC * CG + c)[:, None]
    tl.atomic_add(grad_w + place, total, mask=(k < 9 * CG)[None, :] & (c < CG)[:, None])


# ---------------------------------------------------------------------------------------------------- launching


def tiles(kernel: str, count: int, width: int, dtype: torch.dtype) -> dict[str, int]:
    """Compile-time constants of a kernel for N = `count` bases and groups of C/N = `width` channels."""
    pixels, columns, inner, stages = TILES[kernel][8 if count >= 8 else 4]
    if dtype == torch.float32:  # twice the memory of 16 bits
        pixels, columns, inner, stages = 64, 128, 32, 2
    of_basis = max(SMALLEST // count, min(triton.next_power_of_2(width), columns // count), 1)
    columns = count * of_basis
    if kernel == "input":
        inner = max(SMALLEST, min(triton.next_power_of_2(width), inner))
    sums = {"input": pixels * inner, "weights": columns * inner}.get(kernel, pixels * columns)
    warps = 4 if sums <= 128 * 128 else 8  # the sums must fit into their registers
    return {
        "N": count, "CG": width, "BP": pixels, "BC": of_basis, "BK": inner, "num_warps": warps, "num_stages": stages
    }  # fmt: skip


def _sizes(kernel: str, x: Tensor, m: Tensor) -> tuple[tuple[int, int, int, int], dict[str, int]]:
    """(H, W, C, pixels) and constants of a kernel for x [B,H,W,C] and M [B,H,W,N]."""
    batch, height, width, channels = x.shape
    count = m.shape[3]
    return (height, width, channels, batch * height * width), tiles(kernel, count, channels // count, x.dtype)


def _image(kernel: Any, name: str, part: str, image: Tensor, m: Tensor, w: Tensor) -> Tensor:
    """Run a kernel whose result has the shape of `image`; one program does BP pixels and `part` channels of a group."""
    shape, constants = _sizes(name, image, m)
    out = torch.empty_like(image)
    tiles_of_pixels = triton.cdiv(shape[3], constants["BP"])
    programs = tiles_of_pixels * constants["N"] * triton.cdiv(constants["CG"], constants[part])
    kernel[(programs,)](image, m, w, out, *shape, **constants)
    return out


def _convolved(x: Tensor, m: Tensor, w: Tensor) -> Tensor:
    return _image(_forward, "forward", "BC", x, m, w)


def _gradient_of_input(m: Tensor, w: Tensor, grad: Tensor) -> Tensor:
    return _image(_grad_input, "input", "BK", grad, m, w)


def _gradient_of_fusion_weights(x: Tensor, m: Tensor, w: Tensor, grad: Tensor) -> Tensor:
    shape, constants = _sizes("fusion_weights", x, m)
    grad_m = torch.empty_like(m)
    _grad_fusion_weights[(triton.cdiv(shape[3], constants["BP"]),)](x, w, grad, grad_m, *shape, **constants)
    return grad_m


def _gradient_of_weights(x: Tensor, m: Tensor, w: Tensor, grad: Tensor) -> Tensor:
    """In float32, whatever the arguments are."""
    shape, of = _sizes("weights", x, m)
    grad_w = torch.zeros_like(w, dtype=torch.float32)
    share = triton.cdiv(triton.cdiv(shape[3], of["BP"]), SPLITS) * of["BP"]
    products = of["N"] * triton.cdiv(of["CG"], of["BC"]) * triton.cdiv(9 * of["CG"], of["BK"])
    _grad_weights[(triton.cdiv(shape[3], share) * products,)](x, grad, m, grad_w, share, *shape, **of)
    return grad_w


# ---------------------------------------------------------------------------------------------------- autograd


def fits(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> bool:
    """Whether the kernel can do these: N a power of two, kernels of 3x3, not too many elements."""
    count = fusion_weights.shape[1]
    return count & (count - 1) == 0 and bases.shape[-1] == 3 and x.numel() < LARGEST


def akgm_fused(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """Eq. 2 at every pixel; arguments and result as in `reference.akgm_reference`, N a power of two.

    Differentiable once in all three arguments; the gradient of the bases is summed in no fixed order, so that its
    last bits differ from run to run. Everything is in the dtype of autocast where it is on.
    """
    dtype = compute_dtype(x)
    count = fusion_weights.shape[1]
    with torch.cuda.device_of(x):  # Triton launches on the current device; on a CPU this does nothing
        if needs_gradients(x, fusion_weights, bases):
            return _Fused.apply(x.to(dtype), fusion_weights.to(dtype), bases.to(dtype))
        packed = cached_cast(bases, ("fused", count, dtype), lambda: _packed(bases.to(dtype), count))
        return _convolved(_pixels(x.to(dtype)), _pixels(fusion_weights.to(dtype)), packed).permute(0, 3, 1, 2)


def _pixels(image: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,H,W,C], contiguous."""
    return image.permute(0, 2, 3, 1).contiguous()


def _packed(bases: Tensor, count: int) -> Tensor:
    """[C·N, C/N, 3, 3] -> [group, t, i, n, c], contiguous."""
    width = bases.shape[1]
    by_group = bases.detach().view(count, width, count, width, 9)  # group, c, n, i, t
    return by_group.permute(0, 4, 3, 2, 1).contiguous()


def _unpacked(weights: Tensor) -> Tensor:
    """The inverse of `_packed`."""
    count, _, width = weights.shape[:3]
    return weights.permute(0, 4, 3, 2, 1).reshape(count * width * count, width, 3, 3)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
        pixels, m, weights = _pixels(x), _pixels(fusion_weights), _packed(bases, fusion_weights.shape[1])
        ctx.save_for_backward(pixels, m, weights)
        return _convolved(pixels, m, weights).permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, m, weights = ctx.saved_tensors
        of_x, of_m, of_bases = ctx.needs_input_grad
        g = _pixels(grad.to(x.dtype))
        with torch.cuda.device_of(g):
            return (
                _gradient_of_input(m, weights, g).permute(0, 3, 1, 2) if of_x else None,
                _gradient_of_fusion_weights(x, m, weights, g).permute(0, 3, 1, 2) if of_m else None,
                _unpacked(_gradient_of_weights(x, m, weights, g)).to(x.dtype) if of_bases else None,
            )
