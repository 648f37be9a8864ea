"""Random images, and pipelines run on them, for tests of several files."""

import torch


def image_of(height, width, seed=1, batch=1):
    """[B,3,H,W] in [-1,1], the same for the same seed."""
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def run(pipeline, image, *arguments, **options):
    """What a pipeline makes of it: a tensor, not rounded."""
    return pipeline(image, *arguments, output_type="pt", **options).images
