"""Inter-step patch-splitting: split equals whole, every pixel is kept once, bad sizes are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ucdir.errors import ConfigError
from ucdir.patches.split import apply_in_patches, intervals, round_up, smallest_patch, split

SIZES = [(1, 1), (3, 200), (200, 3), (64, 64), (97, 131), (150, 90), (8, 301)]


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    patch=st.integers(3, 20),
    reach=st.integers(1, 9),
    multiple=st.sampled_from([1, 2, 4, 8]),
)
@settings(deadline=None, max_examples=150)
def test_every_pixel_is_kept_once_and_has_its_surroundings(height, width, patch, reach, multiple):
    height, width = round_up(height, multiple), round_up(width, multiple)
    overlap = round_up(reach, multiple)
    kept = np.zeros((height, width), int)
    side = max(patch * multiple, smallest_patch(reach, multiple))
    for p in split(height, width, side, overlap, multiple):
        kept[p.kept_rows, p.kept_columns] += 1
        for read, inner, length in ((p.rows, p.kept_rows, height), (p.columns, p.kept_columns, width)):
            assert read.start % multiple == 0
            assert read.stop - read.start <= side
            assert read.start == max(inner.start - overlap, 0)
            assert read.stop == min(inner.stop + overlap, length)
    assert (kept == 1).all()


def test_shares_are_equal_and_not_a_rest():
    cut = [kept.stop - kept.start for _, kept in intervals(1000, 400, 80, 8)]
    assert cut == [200, 200, 200, 200, 200]


@pytest.mark.parametrize("size", SIZES)
def test_a_network_split_equals_the_network_whole(random_pipeline, size):
    pipeline = random_pipeline()
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    level, known = torch.full((2,), 0.7), {"jpeg_quality": torch.tensor([10.0, 40.0])}
    networks = {
        "predictor": pipeline.predictor,
        "diffusion_model": lambda x: pipeline.diffusion_model(x, x.flip(0), x, level, known),
    }
    for name, function in networks.items():
        network = getattr(pipeline, name)
        sizes = {"receptive_field": network.receptive_field, "multiple_of": network.multiple_of}
        with torch.no_grad():
            whole = apply_in_patches(function, [image], patch_size=4000, **sizes)
            smallest = smallest_patch(*sizes.values())
            for patch_size in (smallest, smallest + 13):
                parts = apply_in_patches(function, [image], patch_size=patch_size, **sizes)
                assert parts.shape == image.shape
                assert (parts - whole).abs().max() <= 1e-4, (name, patch_size)


def test_control_too_little_overlap_shows(random_pipeline):
    network = random_pipeline().predictor
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = apply_in_patches(
            network, [image], patch_size=4000, receptive_field=network.receptive_field, multiple_of=4
        )
        parts = apply_in_patches(network, [image], patch_size=24, receptive_field=4, multiple_of=4)
    assert (parts - whole).abs().max() > 1e-3


def test_sizes_that_are_no_multiple_are_mirrored():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    seen = []
    result = apply_in_patches(
        lambda x: seen.append(x) or x, [image], patch_size=99, receptive_field=1, multiple_of=8
    )
    assert torch.equal(result, image)
    assert seen[0].shape == (1, 1, 8, 8)
    assert seen[0][0, 0, :, 0].tolist() == [0, 4, 8, 4, 0, 4, 8, 4]
    assert seen[0][0, 0, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1]


def test_a_patch_too_small_is_refused_with_the_smallest_that_is_not():
    image = torch.zeros(1, 3, 100, 100)
    with pytest.raises(ConfigError, match="patch size of 40 pixels is too small.*choose 48 or more"):
        apply_in_patches(lambda x: x, [image], patch_size=40, receptive_field=16, multiple_of=8)
    apply_in_patches(lambda x: x, [image], patch_size=48, receptive_field=16, multiple_of=8)
    # an image that fits into the patch needs no overlap
    apply_in_patches(lambda x: x, [image[..., :40, :40]], patch_size=40, receptive_field=16, multiple_of=8)
