"""Optimizers by name: AdamW, which the paper's field uses, and Muon, which needs far fewer steps."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ucdir.engines.devices import has_bf16

MOMENTUM = 0.95
SMALLEST_SIDE = 8
"""Rows and columns from which on a weight is worth orthogonalising."""


class Muon(torch.optim.AdamW):
    """Momentum, orthogonalised, for the convolutions between a network's first and last; AdamW for all else.

    Jordan et al. 2024. With the gradient g of a weight seen as a matrix [outputs, inputs · kernel height · width],

        m <- β m + (1-β) g        u = β m + (1-β) g        w <- (1 - lr · decay) w - lr · √max(rows, columns) · UVᵀ

    where UΣVᵀ = u: every direction of the weight moves equally far, also those with small gradients. The factor makes
    the root mean square of the change `lr`, about that of AdamW, so one learning rate suits both (Liu et al. 2025).
    Kernel bases (Eq. 2) are as many matrices as there are pairs of group and basis. N of them add up to a kernel, with
    about the same gradient at first, so each moves 1/N as far.

    Args:
        named_parameters: of a model.
        lr: learning rate.
        weight_decay: as AdamW's.
    """

    def __init__(
        self, named_parameters: Iterable[tuple[str, nn.Parameter]], lr: float, weight_decay: float
    ) -> None:
        named = list(named_parameters)
        super().__init__([p for _, p in named], lr=lr, weight_decay=weight_decay)
        self.matrices = {p: name for name, p in named if is_matrix(name, p)}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; what has no gradient stays as it is."""
        group = self.param_groups[0]
        updates: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
        for p, name in self.matrices.items():
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state |= {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(p)}
            state["step"] += 1
            state["exp_avg"].lerp_(p.grad, 1 - MOMENTUM)
            update = as_matrices(name, torch.lerp(p.grad, state["exp_avg"], MOMENTUM))
            updates[update.shape[1:]].append((p, update))
            p.grad = None  # what still has one is left to AdamW
        for size, same in updates.items():  # matrices of one size at once
            stacked = torch.cat([u for _, u in same])
            dtype = torch.bfloat16 if has_bf16(stacked.device) else torch.float32
            changes = orthogonalised(stacked, dtype) * max(size) ** 0.5
            for (p, _), change in zip(same, changes.split([len(u) for _, u in same]), strict=True):
                name = self.matrices[p]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(as_weight(name, change, p), alpha=group["lr"] / added_up(name, p))
        super().step(closure)
        return None


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon trains a parameter: not first and last convolutions, embeddings, biases, norms and tiny weights."""
    if parameter.ndim < 2 or {"stem", "head", "scalar_encoder"} & set(name.split(".")):
        return False
    return min(as_matrices(name, parameter).shape[1:]) >= SMALLEST_SIDE


def as_matrices(name: str, weight: Tensor) -> Tensor:
    """A weight [O,I,h,w] or [O,I] -> [1,O,I·h·w]; kernel bases [C·N,C/N,h,w] -> [N·N,C/N,C/N·h·w]."""
    if not name.endswith("bases"):
        return weight.flatten(1)[None]
    width, count = weight.shape[1], _bases(weight)
    return weight.reshape(count, width, count, -1).transpose(1, 2).flatten(0, 1)


def as_weight(name: str, matrices: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_matrices`, in the shape of `like`."""
    if name.endswith("bases"):
        count = _bases(like)
        matrices = matrices.view(count, count, *matrices.shape[1:]).transpose(1, 2)
    return matrices.reshape(like.shape)


def added_up(name: str, weight: Tensor) -> int:
    """How many parts of a weight add up to one kernel: N of kernel bases, else 1."""
    return _bases(weight) if name.endswith("bases") else 1


def _bases(weight: Tensor) -> int:
    """N of kernel bases [C·N, C/N, k, k], whose rows are ordered by group, output channel and basis."""
    return math.isqrt(weight.shape[0] // weight.shape[1])


def orthogonalised(matrices: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """UVᵀ of each matrix UΣVᵀ, approximately: [B,M,N] -> [B,M,N] with singular values of about 0.7 to 1.2.

    Five steps of the Newton-Schulz iteration X <- aX + (bXXᵀ + c(XXᵀ)²)X with Jordan's coefficients, for which bfloat16
    is exact enough; where a device only emulates it, it is thirty times slower than float32.
    """
    x = matrices.to(dtype)
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        squares = x @ x.mT
        x = 3.4445 * x + (-4.7750 * squares + 2.0315 * squares @ squares) @ x
    result: Tensor = x if wide else x.mT
    return result.to(matrices.dtype)


def _adamw(named_parameters: Iterable[tuple[str, nn.Parameter]], **settings: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW([p for _, p in named_parameters], **settings)


OPTIMIZERS: dict[str, Callable[..., torch.optim.AdamW]] = {"adamw": _adamw, "muon": Muon}
"""By name: (named parameters, lr, weight_decay) -> an optimizer."""
