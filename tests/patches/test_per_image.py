"""Per-image splitting has seams where inter-step splitting has none (Fig. 6)."""

import torch

from ucdir.patches import restore_per_image


def test_it_restores_each_patch_and_keeps_each_pixel_once():
    image = torch.rand(1, 3, 50, 70)
    numbers = []
    result = restore_per_image(
        lambda patch, number: numbers.append(number) or patch * 2, image, patch_size=32, overlap=8
    )
    assert torch.equal(result, image * 2)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 4


def test_its_patches_do_not_agree_and_those_of_each_step_do(random_pipeline):
    pipeline = random_pipeline()
    image = torch.linspace(-0.2, 0.2, 128).expand(1, 3, 128, 128).contiguous()

    def restore(patch, number):
        return pipeline(patch, seed=number, output_type="pt").images

    parts = restore_per_image(restore, image, patch_size=96, overlap=16)
    each_step = pipeline(image, patch_size=96, output_type="pt").images
    whole = pipeline(image, output_type="pt").images
    assert (each_step - whole).abs().max() <= 1e-4
    assert (parts - whole).abs().max() > 0.05
    assert (parts[..., 64:] - whole[..., 64:]).abs().mean() > 100 * (each_step - whole).abs().mean()
