"""Per-image splitting has seams where inter-step splitting has none (Fig. 6)."""

import numpy as np

from ucdir.patches import restore_per_image


def test_it_restores_each_patch_and_keeps_each_pixel_once():
    image = np.random.default_rng(0).random((1, 3, 50, 70), dtype=np.float32)
    numbers = []
    result = restore_per_image(
        lambda patch, number: numbers.append(number) or patch * 2, image, patch_size=32, overlap=8
    )
    assert np.array_equal(result, image * 2)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 4


def test_its_patches_do_not_agree_and_those_of_each_step_do(random_pipeline):
    restore = random_pipeline().restore_signal
    image = np.tile(np.linspace(-0.2, 0.2, 128, dtype=np.float32), (1, 3, 128, 1))
    parts = restore_per_image(
        lambda patch, number: restore(patch, seed=number), image, patch_size=96, overlap=16
    )
    each_step, whole = restore(image, patch_size=96), restore(image)
    assert np.abs(each_step - whole).max() <= 1e-4
    assert np.abs(parts - whole).max() > 0.05
    assert np.abs(parts - whole)[..., 64:].mean() > 100 * np.abs(each_step - whole).mean()
