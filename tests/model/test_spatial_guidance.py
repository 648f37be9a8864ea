"""The guidance at each level's resolution: means over whole cells, and nothing beyond a cell."""

import pytest
import torch

from ucdir.model.framework import build
from ucdir.model.spatial_guidance import SPATIAL_GUIDANCE, guidance_pyramid


@pytest.mark.parametrize("finest", [1, 2, 3])
def test_each_level_is_the_mean_over_its_cells(finest):
    image = torch.randn(2, 3, 12 * finest, 8 * finest).double()
    pyramid = guidance_pyramid(image, finest, 3)
    for level, scaled in enumerate(pyramid):
        cell = finest * 2**level
        by_hand = image.unflatten(3, (-1, cell)).unflatten(2, (-1, cell)).mean((3, 5))
        assert scaled.shape[2:] == (12 * finest // cell, 8 * finest // cell)
        torch.testing.assert_close(scaled, by_hand)


def test_the_finest_level_may_be_the_image_itself():
    image = torch.randn(1, 3, 4, 4)
    assert torch.equal(guidance_pyramid(image, 1, 1)[0], image)


@pytest.mark.parametrize(
    ("name", "chosen", "channels"),
    [("initial", 0, 3), ("degraded", 1, 3), ("internal", 0, 16), ("none", 0, 0)],
)
def test_guidance_by_name(name, chosen, channels):
    images, features = (torch.zeros(1), torch.ones(1)), torch.ones(2)
    guide = SPATIAL_GUIDANCE[name]
    image = guide.image(*images)
    assert image is images[chosen]
    assert guide.of_block(features, image) is (features if name == "internal" else image)
    assert guide.channels(16) == channels


@pytest.mark.parametrize("name", SPATIAL_GUIDANCE)
def test_the_initial_guidance_matters_only_where_it_is_chosen(name, filled, tiny):
    noisy, degraded, guidance, other = torch.randn(4, 1, 3, 8, 8).double()
    level = torch.tensor([0.5])
    model = filled(build(tiny(spatial_guidance=name))[1]).double()
    before = model(noisy, degraded, guidance, level, {})
    assert torch.equal(before, model(noisy, degraded, other, level, {})) is (name != "initial")
