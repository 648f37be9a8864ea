"""`receptive_field` and `multiple_of` against gradients: nothing reaches further, and the bound is not loose.

The radius counts 3x3 convolutions and the grid of the coarsest level, so it does not depend on the number of
channels: the presets are measured with few.
"""

import pytest
import torch
from torch import Tensor, nn

from ucdir.config import PRESETS, DiffusionModelConfig, PredictorConfig
from ucdir.model.diffusion_model import DiffusionModel
from ucdir.model.predictor import InitialPredictor

FORMS = {  # multipliers, blocks, unshuffle
    "default predictor": (PRESETS["default"].model.predictor, PredictorConfig),
    "paper predictor": (PRESETS["paper"].model.predictor, PredictorConfig),
    "default": (PRESETS["default"].model.diffusion_model, DiffusionModelConfig),
    "paper": (
        PRESETS["paper"].model.diffusion_model.model_copy(update={"multipliers": (1,) * 5}),
        DiffusionModelConfig,
    ),
    "one level": (DiffusionModelConfig(multipliers=(1,), blocks=(2,), unshuffle=1), DiffusionModelConfig),
    "one level, unshuffle 4": (PredictorConfig(multipliers=(1,), blocks=(1,), unshuffle=4), PredictorConfig),
    "predictor with norms": (
        PredictorConfig(multipliers=(1, 2), blocks=(1, 1), unshuffle=2, norm="layer_norm"),
        PredictorConfig,
    ),
    "uneven blocks": (
        DiffusionModelConfig(multipliers=(2, 1, 1), blocks=(1, 3, 1), unshuffle=1),
        DiffusionModelConfig,
    ),
}
RADIUS = {
    "default predictor": 91,
    "paper predictor": 97,
    "default": 83,
    "paper": 201,
    "one level": 6,
    "one level, unshuffle 4": 19,
    "predictor with norms": 23,
    "uneven blocks": 41,
}


def narrow(config, kind, **changes):
    """The network of a configuration with as few channels as it can have."""
    small = {**config.model_dump(), "channels": 2, **changes}
    if kind is PredictorConfig:
        return InitialPredictor(PredictorConfig(**small))
    return DiffusionModel(DiffusionModelConfig(**{**small, "kernel_bases": 2, "scalar_channels": 4}))


def inputs_for(network: nn.Module, height: int, width: int) -> list[Tensor]:
    count = 1 if isinstance(network, InitialPredictor) else 3
    return [torch.randn(1, 3, height, width).double().requires_grad_() for _ in range(count)]


def evaluate(network: nn.Module, images) -> Tensor:
    if isinstance(network, InitialPredictor):
        return network(*images)
    return network(*images, torch.tensor([0.5]), {"jpeg_quality": torch.tensor([20.0])})


def reach(gradient: Tensor, row: int, column: int) -> int:
    """Distance of the furthest input pixel with a gradient, along rows or columns."""
    rows, columns = gradient[0].abs().sum(0).nonzero().T
    return int(max((rows - row).abs().max(), (columns - column).abs().max()))


def furthest(network: nn.Module, upright: bool) -> dict[int, int]:
    """For each phase of the grid how far a pixel sees along the longer side of an image, in any input."""
    multiple, radius = network.multiple_of, network.receptive_field
    middle = -(-(radius + 1) // multiple) * multiple
    size = (2 * middle + multiple, 2 * multiple)
    images = inputs_for(network, *(size if upright else size[::-1]))
    output = evaluate(network, images)
    found = {}
    for phase in range(multiple):
        place = (middle + phase, multiple // 2) if upright else (multiple // 2, middle + phase)
        gradients = torch.autograd.grad(output[0, :, place[0], place[1]].sum(), images, retain_graph=True)
        assert all(g.isfinite().all() for g in gradients)
        found[phase] = max(reach(g, *place) for g in gradients)
    return found


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("name", FORMS)
def test_nothing_reaches_further_and_the_bound_is_tight(filled, name, upright):
    network = filled(narrow(*FORMS[name])).double()
    found = furthest(network, upright)
    assert network.receptive_field == RADIUS[name]
    assert max(found.values()) == RADIUS[name], "some pixel must see exactly as far as is stated"
    assert min(found.values()) >= RADIUS[name] - network.multiple_of + 1


def test_control_a_norm_over_the_whole_image_reaches_everywhere(filled):
    network = filled(narrow(*FORMS["one level"], norm="group_norm")).double()
    side = 64
    images = inputs_for(network, side, side)
    evaluate(network, images)[0, :, 0, 0].sum().backward()
    assert reach(images[0].grad, 0, 0) == side - 1 > network.receptive_field


@pytest.mark.parametrize("name", FORMS)
def test_multiple_of_is_the_grid(filled, name):
    """Moved by `multiple_of` the result moves with the image; moved by half of it, it does not."""
    network = filled(narrow(*FORMS[name])).double()
    step, radius = network.multiple_of, network.receptive_field
    height = -(-(2 * radius + 1) // step) * step + 3 * step
    with torch.no_grad():
        images = [i.detach() for i in inputs_for(network, height, step)]
        before = evaluate(network, images)

        def difference(by):
            after = evaluate(network, [i.roll(by, -2) for i in images])
            # rows that see neither a border nor the seam, before and after
            return (
                (after[..., radius + by : height - radius, :] - before[..., radius : height - radius - by, :])
                .abs()
                .max()
            )

        assert difference(step) < 1e-9
        if step > 1:
            assert difference(step // 2) > 1e-6, "control"


@pytest.mark.parametrize("name", FORMS)
def test_sizes(filled, name):
    network = filled(narrow(*FORMS[name])).double()
    step = network.multiple_of
    count = len(inputs_for(network, step, step))
    for height, width in [(step, step), (3 * step, step), (step, 5 * step)]:
        result = evaluate(network, [torch.zeros(2, 3, height, width).double()] * count)
        assert result.shape == (2, 3, height, width)


def test_control_a_size_off_the_grid_does_not_fit(filled):
    network = filled(narrow(*FORMS["default predictor"])).double()
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 3, network.multiple_of + 2, network.multiple_of).double())
