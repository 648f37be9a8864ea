"""Muon: the matrices it moves, how far it moves them, and what it leaves to AdamW."""

import pytest
import torch
from torch import nn

from ucdir.config import ModelConfig
from ucdir.model.akgm.reference import full_bases
from ucdir.model.framework import build
from ucdir.training.loop import train
from ucdir.training.optimizers import OPTIMIZERS, Muon, as_matrices, as_weight, is_matrix, orthogonalised

from .test_loop import bits


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 72), (1, 96, 24)])
def test_orthogonalised_equals_uv_of_the_svd(shape):
    scale = torch.logspace(0, -1.5, shape[-1])  # a gradient favours few directions
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    result = orthogonalised(matrices)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.linalg.svdvals(result)
    assert values.max() < 1.3
    assert values.median() > 0.65
    similar = nn.functional.cosine_similarity
    closeness = similar(result.flatten(1), (u @ vh).flatten(1))
    assert closeness.min() > 0.95
    assert similar(matrices.flatten(1), (u @ vh).flatten(1)).max() < closeness.min(), "the control"


def test_each_pair_of_group_and_basis_is_a_matrix():
    channels, count = 16, 2
    bases = torch.arange(channels * count * channels // count * 9.0).view(-1, channels // count, 3, 3)
    matrices = as_matrices("conv2.bases", bases)
    full = full_bases(bases, count)
    for group in range(count):
        own = slice(group * 8, group * 8 + 8)
        for basis in range(count):
            assert torch.equal(matrices[group * count + basis], full[basis, own, own].flatten(1))
    assert torch.equal(as_weight("conv2.bases", matrices, bases), bases)


def test_first_and_last_convolutions_embeddings_and_small_weights_are_left_to_adamw():
    predictor, diffusion_model = build(ModelConfig())
    parameters = dict(diffusion_model.named_parameters(prefix="diffusion_model"))
    matrices = {name for name, p in parameters.items() if is_matrix(name, p)}
    block = "diffusion_model.unet.down.0.0."
    assert {block + "conv1.weight", block + "conv2.bases", block + "conv2.scalars.0.weight"} <= matrices
    assert not {
        n for n in matrices if any(w in n for w in ("stem", "head", "scalar_encoder", "bias", "norm"))
    }
    assert not {block + "conv2.guidance.0.weight", block + "conv2.scalars.2.weight"} & matrices
    share = sum(parameters[n].numel() for n in matrices) / sum(p.numel() for p in parameters.values())
    assert share > 0.9
    assert sum(is_matrix(n, p) for n, p in predictor.named_parameters()) > 20


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.middle = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3)

    def learn(self, optimizer):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        (self.middle(self.stem(x)) - 1).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_the_first_step_moves_every_weight_by_the_learning_rate_in_the_root_mean_square():
    network = Small()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    network.learn(Muon(network.named_parameters(), lr=1e-2, weight_decay=0.0))
    for name, p in network.named_parameters():
        change = (p.detach() - before[name]).square().mean().sqrt()
        assert 0.6e-2 < change < 1.3e-2, name


def test_bases_with_one_gradient_move_their_sum_by_the_learning_rate():
    count, width = 4, 8
    bases = nn.Parameter(torch.zeros(count * count * width, width, 3, 3))
    each = torch.randn(count * width, width, 3, 3, generator=torch.Generator().manual_seed(0))
    bases.grad = each.repeat_interleave(count, 0)
    Muon([("conv2.bases", bases)], lr=1e-2, weight_decay=0.0).step()
    kernel = full_bases(bases.detach(), count).sum(dim=0)
    inside = torch.block_diag(*[torch.ones(width, width)] * count).bool()
    assert 0.6e-2 < kernel[inside].square().mean().sqrt() < 1.3e-2


def test_what_is_no_matrix_moves_as_with_adamw():
    muon, adamw = Small(), Small()
    muon.learn(OPTIMIZERS["muon"](muon.named_parameters(), lr=1e-2, weight_decay=0.1))
    adamw.learn(OPTIMIZERS["adamw"](adamw.named_parameters(), lr=1e-2, weight_decay=0.1))
    differ = [
        n for (n, p), q in zip(muon.named_parameters(), adamw.parameters(), strict=True) if not p.equal(q)
    ]
    assert differ == ["middle.weight"]


def test_weight_decay():
    network = Small()
    before = network.middle.weight.detach().clone()
    other = Small()
    network.learn(Muon(network.named_parameters(), lr=1e-2, weight_decay=0.5))
    other.learn(Muon(other.named_parameters(), lr=1e-2, weight_decay=0.0))
    torch.testing.assert_close(other.middle.weight - network.middle.weight, 0.005 * before)


def test_weights_without_gradient_stay():
    network = Small()
    network.middle.requires_grad_(False)
    before = network.middle.weight.detach().clone()
    network.learn(Muon(network.named_parameters(), lr=1e-2, weight_decay=0.5))
    assert network.middle.weight.equal(before)


def test_training_resumes_to_the_bit(tiny, tmp_path):
    config = tiny(optimizer="muon")
    unbroken = bits(train(config, tmp_path / "unbroken"))
    train(tiny(optimizer="muon", steps=4), tmp_path / "run")
    assert bits(train(config, tmp_path / "run")) == unbroken
    assert bits(train(tiny(), tmp_path / "adamw")) != unbroken, "the control"
