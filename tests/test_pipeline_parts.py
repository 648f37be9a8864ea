"""Restoring an image part by part: to the bit as whole, whatever the parts."""

import numpy as np
import pytest
from local_engine import local_pipeline
from random_images import image_of

from ucdir.diffusion import noise
from ucdir.diffusion.samplers import SAMPLERS
from ucdir.errors import ConfigError, DeviceError, ResultError

SIZES = [(1, 1), (3, 90), (90, 3), (64, 64), (97, 50), (130, 33), (41, 111)]


@pytest.fixture(autouse=True)
def _small_cells(monkeypatch):
    """Drawing cells of 128x128 pixels would be most of the work for small patches."""
    monkeypatch.setattr(noise, "CELL", 16)


def in_parts(pipeline, image, folder, first_row=0, seeds=(0,), **options):
    """The samples of `restore_parts`, NaN where nothing was written, and where rows of patches begin."""
    results = [np.full_like(image, np.nan) for _ in seeds]
    tops = []

    def write(rows, columns, samples):
        for result, sample in zip(results, samples, strict=True):
            result[..., rows, columns] = sample
        tops.append(rows.start)

    pipeline.restore_parts(
        lambda rows, columns: image[..., rows, columns].copy(), *image.shape[2:], write, folder=folder,
        first_row=first_row, seeds=seeds, **options,
    )  # fmt: skip
    assert not list(folder.iterdir()), "files have no names"
    return results, sorted({*tops})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("steps", [1, 3])
def test_in_patches_of_any_size_it_is_to_the_bit_the_whole(tmp_path, size, steps):
    pipeline, image, known = local_pipeline(), image_of(*size), {"jpeg_quality": 45}
    whole = pipeline.restore_signal(image, scalars=known, seed=5, steps=steps)
    for patch_size in (24, 29, 48, None):
        options = {"scalars": known, "steps": steps, "patch_size": patch_size}
        (parts,), _ = in_parts(pipeline, image, tmp_path, seeds=[5], **options)
        assert np.array_equal(parts, whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_sampler_in_parts_is_to_the_bit_itself(tmp_path, sampler, steps):
    pipeline, image = local_pipeline(sampler=sampler, eta=1.0), image_of(130, 30)
    whole = pipeline.restore_signal(image, steps=steps)
    (parts,), tops = in_parts(pipeline, image, tmp_path, patch_size=24, steps=steps)
    assert np.array_equal(parts, whole)
    assert len(tops) > 8
    assert np.abs(pipeline.restore_signal(image, steps=steps, seed=1) - whole).max() > 1e-2, "control"


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_what_is_resumed_is_to_the_bit_what_one_run_gives(tmp_path, sampler):
    pipeline, image = local_pipeline(sampler=sampler), image_of(130, 30)
    (whole,), tops = in_parts(pipeline, image, tmp_path, patch_size=24, steps=3)
    passes = len(pipeline.engine.passes)
    for first in (tops[1], tops[len(tops) // 2], tops[-1]):
        pipeline.engine.passes.clear()
        (rest,), _ = in_parts(pipeline, image, tmp_path, patch_size=24, steps=3, first_row=first)
        assert np.isnan(rest[..., :first, :]).all()
        assert np.array_equal(rest[..., first:, :], whole[..., first:, :])
    assert len(pipeline.engine.passes) < passes / 2, "what is above is not computed once more"


def test_networks_in_parts_are_to_the_bit_themselves(random_pipeline, one_thread, tmp_path):
    pipeline, image = random_pipeline(), image_of(130, 30)
    whole = pipeline.restore_signal(image, patch_size=84, steps=2)
    (parts,), tops = in_parts(pipeline, image, tmp_path, patch_size=84, steps=2)
    assert np.array_equal(parts, whole)
    assert len(tops) > 2


def test_samples_in_parts_are_those_of_their_seeds(tmp_path):
    pipeline, image, seen = local_pipeline(), image_of(130, 40), []
    samples, _ = in_parts(
        pipeline, image, tmp_path, patch_size=24, seeds=[3, 4], fidelity=0.25, amount=0.7,
        on_patch=lambda done, count: seen.append((done, count)),
    )  # fmt: skip
    for seed, sample in zip((3, 4), samples, strict=True):
        assert np.array_equal(sample, pipeline.restore_signal(image, seed=seed, fidelity=0.25, amount=0.7))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert {count for _, count in seen} == {len(seen)}


def test_without_sampling_it_is_the_initial_prediction(tmp_path):
    pipeline, image = local_pipeline(), image_of(60, 40)
    for options in ({"start_fraction": 0}, {"fidelity": 1}):
        (parts,), _ = in_parts(pipeline, image, tmp_path, patch_size=24, **options)
        assert np.array_equal(parts, pipeline.restore_signal(image, **options))


def test_where_a_patch_does_not_fit_the_memory_it_is_split(tmp_path):
    image = image_of(150, 90)
    whole = local_pipeline().restore_signal(image)
    small = local_pipeline(holds=40)
    (parts,), _ = in_parts(small, image, tmp_path)
    assert np.array_equal(parts, whole)
    with pytest.raises(DeviceError, match="does not hold patches of 60"):
        in_parts(small, image, tmp_path, patch_size=60)


def test_what_is_not_finite_or_out_of_range_is_refused(tmp_path):
    pipeline = local_pipeline()
    with pytest.raises(ResultError):
        in_parts(pipeline, np.full((1, 3, 40, 40), np.nan, np.float32), tmp_path)
    for options in ({"steps": 0}, {"patch_size": 5}, {"seeds": [-1]}, {"steps": 200}):
        with pytest.raises(ConfigError):
            in_parts(pipeline, image_of(40, 40), tmp_path, **options)
