"""A pipeline that calculates in bf16: near float32, and weights reduced once a picture."""

from contextlib import nullcontext

import pytest
import torch
from random_images import image_of, run
from torch.utils._python_dispatch import TorchDispatchMode

from ucdir import pipeline as pipeline_module

pytestmark = pytest.mark.usefixtures("one_thread")


def test_bf16_is_near_float32_and_only_in_the_products(random_pipeline):
    image, known = image_of(97, 90), {"jpeg_quality": 30}
    pipeline = random_pipeline()
    exact = run(pipeline, image, scalars=known)
    seen = []
    pipeline.diffusion_model.unet.stem.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    pipeline.predictor.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    pipeline.precision = torch.bfloat16
    reduced = run(pipeline, image, scalars=known)
    assert seen == [torch.float32, *[torch.bfloat16] * 3]
    assert reduced.dtype == torch.float32
    difference = (reduced - exact).abs()
    assert 0 < difference.mean() < 0.5 * 2 / 255, "half a level of 255"
    assert reduced.unique().numel() > 5000, (
        "control: bf16 itself has 257 numbers from -1 to 1 in steps of 1/128"
    )
    split = run(pipeline, image, scalars=known, patch_size=84)
    assert (split - reduced).abs().mean() < 0.5 * 2 / 255
    pipeline.precision = torch.float32
    assert torch.equal(run(pipeline, image, scalars=known), exact)


@pytest.mark.parametrize("kept", [True, False])
def test_weights_are_reduced_once_a_picture(random_pipeline, monkeypatch, kept):
    pipeline, image = random_pipeline(), image_of(64, 72)
    pipeline.precision = torch.bfloat16
    if not kept:  # the control
        monkeypatch.setattr(pipeline_module, "cached_casts", lambda _: nullcontext())
    kernels = sum(p.ndim == 4 for p in pipeline.diffusion_model.parameters())
    counts = []
    for steps in (2, 6):
        with CountCasts() as counter:
            run(pipeline, image, num_inference_steps=steps)
        counts.append(counter.casts)
    assert counts[0] >= kernels
    assert counts[1] - counts[0] == (0 if kept else 4 * kernels)


class CountCasts(TorchDispatchMode):
    """Counts the kernels of convolutions that are made bf16."""

    def __init__(self):
        super().__init__()
        self.casts = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and result.dtype == torch.bfloat16:
            self.casts += result.ndim == 4 and result.shape[-1] <= 3
        return result
