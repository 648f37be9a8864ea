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


@pytest.mark.parametrize(("name", "chosen"), [("initial", 0), ("degraded", 1)])
def test_what_steers_by_name(name, chosen):
    images = torch.zeros(1), torch.ones(1)
    assert SPATIAL_GUIDANCE[name](*images) is images[chosen]
    assert set(SPATIAL_GUIDANCE) == {"initial", "degraded"}


def test_the_guidance_steers_only_where_it_is_chosen(filled, tiny):
    noisy, degraded, guidance, other = torch.randn(4, 1, 3, 8, 8).double()
    level = torch.tensor([0.5])
    for name in SPATIAL_GUIDANCE:
        model = filled(build(tiny(spatial_guidance=name))[1]).double()
        same = torch.equal(
            model(noisy, degraded, guidance, level, {}), model(noisy, degraded, other, level, {})
        )
        assert same is (name == "degraded")
