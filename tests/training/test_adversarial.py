"""A discriminator on frozen features: hinge losses that do not mix, spectral norms, resumable."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ucdir.errors import ConfigError
from ucdir.model.framework import build
from ucdir.pipeline import load
from ucdir.training import loop
from ucdir.training.adversarial import (
    AdversarialTerm,
    AlexNetFeatures,
    Discriminator,
    PredictorFeatures,
    augmented,
    new_discriminator,
)
from ucdir.training.checks import check_settings
from ucdir.training.export import export
from ucdir.training.model import new_model

CPU = torch.device("cpu")
SETTINGS = {
    "objective": "sampler_aware", "perceptual_weight": 0, "adversarial_weight": 0.1, "freeze_predictor": True,
}  # fmt: skip


def term_of(config, width=16):
    torch.manual_seed(0)
    predictor = build(config.model)[0]
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    discriminator = Discriminator(PredictorFeatures.channels(config), width)
    return predictor.requires_grad_(False), AdversarialTerm(config, discriminator, CPU)


def images(step, count=8, side=16):
    return torch.randn((3, count, 3, side, side), generator=torch.Generator().manual_seed(step)) * 0.3


def test_what_a_distance_to_one_truth_removes_the_discriminator_keeps(tiny):
    """Texture that cannot be foreseen: the squared error takes its amplitude to 0, a discriminator does not."""
    predictor, term = term_of(tiny(**SETTINGS))
    amplitude = {}
    for weight in (0.0, 1.0):
        amplitude[weight] = nn.Parameter(torch.tensor(0.15))
        optimizer = torch.optim.Adam(
            [
                {"params": [amplitude[weight]], "lr": 1e-2},
                {"params": term.discriminator.parameters(), "lr": 4e-3},
            ]
        )
        for step in range(80):
            noise, clean, guidance = images(step, count=4)
            restored = amplitude[weight] * noise / 0.3
            loss = (restored - clean).square().mean()
            if weight:
                losses = term(restored, clean, 0 * guidance, predictor, step)
                loss = loss + 10 * losses["adversarial"] + losses["discriminator"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert abs(float(amplitude[0.0].detach())) < 0.05, "control"
    assert float(amplitude[1.0].detach()) > 0.15, "that of the truth is 0.3"


def test_each_side_is_a_constant_for_the_other(tiny):
    predictor, term = term_of(tiny(**SETTINGS))
    restored, clean, guidance = images(0)
    restored.requires_grad_()
    losses = term(restored, clean, guidance, predictor, 0)
    losses["adversarial"].backward(retain_graph=True)
    assert restored.grad.abs().max() > 0
    assert all(p.grad is None for p in term.discriminator.parameters())
    restored.grad = None
    losses["discriminator"].backward()
    assert restored.grad is None
    assert all(p.grad is not None for p in term.discriminator.parameters())


def test_the_hinge_by_hand(tiny):
    predictor, term = term_of(tiny(**SETTINGS))
    restored, clean, guidance = images(1)
    found = term(restored, clean, guidance, predictor, 5)

    def scores(image):
        views = [augmented(one, (0, 5, 0, 3)) for one in (image, guidance)]
        return term.discriminator(*(predictor.unet.encode(view, [()] * 2) for view in views))

    real, fake = scores(clean), scores(restored)
    assert len(real) == 2, "one for each level"
    hinge = (
        sum(
            (1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean() for r, f in zip(real, fake, strict=True)
        )
        / 2
    )
    torch.testing.assert_close(found["discriminator"], hinge)
    torch.testing.assert_close(found["adversarial"], -0.1 * sum(f.mean() for f in fake) / 2)
    _, other = term_of(tiny(**SETTINGS, seed=1))
    assert not torch.equal(
        other(restored, clean, guidance, predictor, 5)["discriminator"], found["discriminator"]
    )


def test_the_size_of_the_weights_does_not_matter(tiny):
    _, term = term_of(tiny(**SETTINGS))
    features = [torch.randn(2, c, 8, 8) for c in (4, 8)]
    nets = term.discriminator
    with torch.no_grad():
        for name, parameter in nets.named_parameters():
            parameter.mul_(0 if name.endswith("bias") else 1)
        before = nets(features, features)
        for parameter in nets.parameters():
            parameter.mul_(7)
        for one, other in zip(before, nets(features, features), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_both_sides_are_seen_through_one_view():
    image = torch.rand(2, 3, 32, 24)
    views = [augmented(image, (0, step)) for step in range(20)]
    assert all(torch.equal(view, augmented(image, (0, step))) for step, view in enumerate(views))
    assert len({float(view.sum()) for view in views}) == 20
    assert all(((view == 0).all(1)[0] == (view == 0).all(1)[1]).all() for view in views), (
        "one place in a batch"
    )


def test_alexnet_is_another_choice(tiny, metric_weights, monkeypatch):
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    config = tiny(**SETTINGS, adversarial_features="alexnet", data={"crop": 48})
    term = AdversarialTerm(config, new_discriminator(config), CPU)
    assert isinstance(term.features, AlexNetFeatures)
    losses = term(*images(0, count=2, side=48), nn.Identity(), 0)
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("objective", ["sampler_aware", "energy_score"])
def test_it_resumes_bit_for_bit_and_is_not_exported(tiny, tmp_path, objective):
    export(loop.train(tiny(steps=2), tmp_path / "first"), tmp_path / "initial", torch.float32)
    base = tiny(steps=2).model.model_dump()
    scalars = ["jpeg_quality", *(["diversity"] if objective == "energy_score" else [])]
    base["diffusion_model"]["scalars"] = scalars
    settings = {**SETTINGS, "objective": objective, "model": base, "initial": str(tmp_path / "initial")}
    check_settings(tiny(**settings, optimizer="muon"), 1)
    whole = load_file(loop.train(tiny(**settings, steps=4), tmp_path / "whole"))
    loop.train(tiny(**settings, steps=2), tmp_path / "broken")
    broken = load_file(loop.train(tiny(**settings, steps=4), tmp_path / "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    own = [name for name in whole if name.startswith("weights.discriminator.")]
    torch.manual_seed(0)
    fresh = dict(new_model(tiny(**settings), CPU).named_parameters())
    assert own
    assert not any(
        torch.equal(whole[name], fresh[name.removeprefix("weights.")]) for name in own if "bias" not in name
    )
    export(tmp_path / "whole" / "checkpoint.safetensors", tmp_path / "model", torch.float32)
    assert load(tmp_path / "model", "cpu", "fp32").engine.scalars == tuple(scalars)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adversarial_features": "vgg"}, "'vgg' is unknown; choose one of predictor, alexnet"),
        ({"adversarial_features": "alexnet", "data": {"crop": 16}}, "crop 16 is too small for AlexNet"),
        ({"objective": "noise"}, "is for the objectives sampler_aware and energy_score"),
        ({"freeze_predictor": False}, "set training.freeze_predictor to true"),
    ],
)
def test_what_does_not_fit_is_refused(tiny, changes, words):
    with pytest.raises(ConfigError, match=words):
        check_settings(tiny(**{**SETTINGS, **changes}), 1)


def test_the_discriminators_gradients_are_clipped_apart(tiny, tmp_path, monkeypatch):
    """Together, the two norms would share the bound."""
    export(loop.train(tiny(steps=2), tmp_path / "first"), tmp_path / "initial", torch.float32)
    config = tiny(initial=str(tmp_path / "initial"), steps=2, clip_norm=1e-6, **SETTINGS)
    own = len([*new_model(config, CPU).discriminator.parameters()])
    norms, step = [], torch.optim.AdamW.step

    def spied(optimizer, closure=None):
        gradients = [p.grad for p in optimizer.param_groups[0]["params"]]
        for part in (gradients[:-own], gradients[-own:]):
            norms.append(float(torch.stack([g.square().sum() for g in part if g is not None]).sum().sqrt()))
        return step(optimizer, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", spied)
    loop.train(config, tmp_path / "run")
    assert norms == pytest.approx([1e-6] * 4, rel=1e-2)
