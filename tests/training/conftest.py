"""A training small enough for a test: 12 photos of 40x48, networks of 15,000 parameters, crops of 16."""

import numpy as np
import pytest
from PIL import Image

from ucdir.config import Config, parse_config

PREDICTOR = {"channels": 4, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 2}
DIFFUSION_MODEL = {**PREDICTOR, "channels": 8, "kernel_bases": 2, "scalar_channels": 8}


def write_photos(folder, count=12, height=40, width=48):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"photo_{i:02d}.png")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="session")
def tiny(photos):
    """A function: `tiny(steps=4, diffusion={...})` -> a config; keywords are of `training` or sections."""

    def make(diffusion=None, data=None, model=None, sampling=None, seed=0, **training) -> Config:
        values = {
            "preset": "paper",
            "seed": seed,
            "model": model or {"predictor": PREDICTOR, "diffusion_model": DIFFUSION_MODEL},
            "diffusion": {"residual_scale": 5.0, **(diffusion or {})},
            "data": {"photos": str(photos), "crop": 16, "hold_out": 2, **(data or {})},
            "sampling": {"sampler": "ddim", "steps": 2, "start_fraction": 0.4, "eta": 0.0, **(sampling or {})},
            "training": {
                "steps": 6, "batch_size": 4, "warmup_steps": 2, "workers": 0, "learning_rate": 1e-3,
                "checkpoint_every": 1000, "sample_every": 1000, **training,
            },
        }  # fmt: skip
        return parse_config(values, "the test's configuration")

    return make


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """For every test of this folder."""
