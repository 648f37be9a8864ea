"""Random images for tests of several files."""

import numpy as np


def image_of(height, width, seed=1, batch=1):
    """float32 [B,3,H,W] in [-1,1], the same for the same seed."""
    return np.random.default_rng(seed).random((batch, 3, height, width), dtype=np.float32) * 2 - 1
