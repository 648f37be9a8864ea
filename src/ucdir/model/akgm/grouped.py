"""The AKGM (Eq. 2) at about the price of a dense convolution, in plain PyTorch.

Convolution is linear in its kernel, so the kernel of Eq. 2 never has to be built:

    Σ_b M[b]·(W_b * x)   equals   (Σ_b M[b]·W_b) * x   at every pixel.

A basis is a grouped convolution. Taking the groups one after another turns each into an ordinary dense
convolution of C/N input channels and C outputs (the N bases of that group), which libraries run at full
speed. Without gradients only the outputs of one group are held at a time: C channels instead of N·C.

The weighted sum is as fast as memory allows only along rows that are long and without gaps: so M is repeated to the C
channels of a group's outputs, one product takes them all, and the bases are added half to half.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ucdir.model.akgm.cached_cast import cached_cast, compute_dtype, needs_gradients


def akgm_grouped(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """Eq. 2 at every pixel; arguments and result as in `reference.akgm_reference`.

    Differentiable once in all three arguments. Everything is in the dtype of autocast where it is on. The result is
    in the channels-last memory format.
    """
    dtype = compute_dtype(x)
    count = fusion_weights.shape[1]
    if needs_gradients(x, fusion_weights, bases):
        return _Grouped.apply(x.to(dtype), fusion_weights.to(dtype), bases.to(dtype))  # type: ignore[no-any-return, no-untyped-call]
    weights = cached_cast(
        bases, ("grouped", count, dtype), lambda: weights_by_group(bases.detach().to(dtype), count)
    )
    return _forward(x.to(dtype), _repeated(fusion_weights.to(dtype), bases.shape[1]), weights, None)


def weights_by_group(bases: Tensor, count: int) -> Tensor:
    """[C·N, C/N, k, k] -> [N groups, N·C/N, C/N, k, k]; outputs of a group are ordered basis by basis."""
    width, k = bases.shape[1], bases.shape[-1]
    by_basis = bases.view(count, width, count, width, k, k).transpose(1, 2)
    return by_basis.reshape(count, count * width, width, k, k)


def _one_group(x: Tensor, weight: Tensor) -> Tensor:
    """The outputs of all bases for one group of channels: [B,C/N,H,W] -> [B,H,W,C], basis by basis."""
    out = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, padding=weight.shape[-1] // 2)
    return out.permute(0, 2, 3, 1)


def _repeated(fusion_weights: Tensor, width: int) -> Tensor:
    """M repeated to each output of a group: [B,N,H,W] -> [B,H,W,N·width]."""
    return fusion_weights.permute(0, 2, 3, 1).unsqueeze(-1).expand(-1, -1, -1, -1, width).flatten(3)


def _add_bases(products: Tensor, into: Tensor) -> None:
    """Sum over the bases, [B,H,W,N·width] -> [B,H,W,width]; overwrites `products`."""
    width = into.shape[-1]
    count = products.shape[-1] // width
    while count > 2:
        half = count // 2
        products[..., : half * width] += products[..., (count - half) * width : count * width]
        count -= half
    if count == 2 and not torch.compiler.is_compiling():  # which refuses an `out=` with gaps
        torch.add(products[..., :width], products[..., width : 2 * width], out=into)
    elif count == 2:
        into.copy_(products[..., :width] + products[..., width : 2 * width])
    else:
        into.copy_(products[..., :width])


def _forward(x: Tensor, m: Tensor, weights: Tensor, outputs: list[Tensor] | None) -> Tensor:
    """Eq. 2 from M of `_repeated` and kernels of `weights_by_group`; a list, if given, gets each group's outputs."""
    width = weights.shape[2]
    result = torch.empty_like(x, memory_format=torch.channels_last).permute(0, 2, 3, 1)
    buffer = None if outputs is None else torch.empty_like(m)
    for group, channels in enumerate(torch.split(x, width, dim=1)):
        out = _one_group(channels, weights[group])
        if outputs is not None:
            outputs.append(out)
        products = out.mul_(m) if buffer is None else torch.mul(out, m, out=buffer)
        _add_bases(products, result[..., group * width : (group + 1) * width])
        del out, products  # so that the next group reuses their memory, which is still in the caches
    return result.permute(0, 3, 1, 2)


class _Grouped(torch.autograd.Function):
    """Eq. 2 with its gradient by hand: autograd would copy N·C channels several times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
        weights, m = (
            weights_by_group(bases, fusion_weights.shape[1]),
            _repeated(fusion_weights, bases.shape[1]),
        )
        outputs: list[Tensor] = []
        result = _forward(x, m, weights, outputs)
        ctx.count = fusion_weights.shape[1]
        ctx.save_for_backward(x, m, weights, *outputs)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, m, weights, *outputs = ctx.saved_tensors
        count, width, k = ctx.count, weights.shape[2], weights.shape[-1]
        grad_m = m.new_zeros((*m.shape[:3], count))
        grad_out, products = torch.empty_like(m), torch.empty_like(m)
        grads_x, grads_w = [], []
        pairs = zip(torch.split(x, width, dim=1), torch.split(grad, width, dim=1), strict=True)
        for group, (channels, g) in enumerate(pairs):
            torch.unflatten(grad_out, -1, (count, width)).copy_(g.permute(0, 2, 3, 1).unsqueeze(3))
            torch.mul(grad_out, outputs[group], out=products)
            grad_m += torch.unflatten(products, -1, (count, width)).sum(-1)
            grad_out *= m
            grad_x, grad_w, _ = torch.ops.aten.convolution_backward(
                grad_out.permute(0, 3, 1, 2), channels.contiguous(memory_format=torch.channels_last), weights[group],
                None, [1, 1], [k // 2, k // 2], [1, 1], False, [0, 0], 1, [True, True, False],
            )  # fmt: skip
            grads_x.append(grad_x)
            grads_w.append(grad_w)
        grad_bases = torch.stack(grads_w).view(count, count, width, width, k, k).transpose(1, 2)
        return torch.cat(grads_x, dim=1), grad_m.permute(0, 3, 1, 2), grad_bases.flatten(0, 2)
