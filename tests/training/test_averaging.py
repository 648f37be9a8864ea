"""The average follows its formula, and networks share its tensors without using random numbers."""

import pytest
import torch

from ucdir.training.averaging import WeightAverage, networks_with
from ucdir.training.model import TrainingModel


@pytest.mark.parametrize("decay", [0.0, 0.2, 0.9999])
def test_formula(decay):
    model = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, decay)
    expected = model.weight.item()
    for step in range(1, 20):
        with torch.no_grad():
            model.weight.fill_(step**0.5)
        average.update(model, step)
        d = min(decay, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * step**0.5
        assert float(average.weights["weight"]) == pytest.approx(expected, rel=1e-5)
    assert model.weight.item() == pytest.approx(19**0.5), "the model itself is unchanged"


def test_networks_hold_the_averages_themselves(tiny):
    config = tiny()
    torch.manual_seed(0)
    average = WeightAverage(TrainingModel(config), 0.9)
    before = torch.random.get_rng_state()
    networks = networks_with(average.weights, config.model)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, network in zip(("predictor", "diffusion_model"), networks, strict=True):
        assert not network.training
        for key, parameter in network.named_parameters():
            assert parameter.data_ptr() == average.weights[f"{name}.{key}"].data_ptr()
            assert not parameter.requires_grad
