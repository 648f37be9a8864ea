"""PyTorch's engine: bf16 near float32, weights reduced once a session, a full memory as MemoryError."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from machine import NEEDS_GPU
from random_images import image_of
from torch.utils._python_dispatch import TorchDispatchMode

from ucdir.engines import torch_engine

pytestmark = pytest.mark.usefixtures("one_thread")


def test_what_a_tiler_needs_is_that_of_both_networks(random_pipeline):
    engine = random_pipeline().engine
    networks = engine.predictor, engine.diffusion_model
    assert engine.receptive_field == max(network.receptive_field for network in networks)
    assert all(engine.multiple_of % network.multiple_of == 0 for network in networks)
    assert engine.scalars == ("jpeg_quality",)


def test_bf16_is_near_float32_and_only_in_the_products(random_pipeline):
    image, known = image_of(97, 90), {"jpeg_quality": 30}
    pipeline = random_pipeline()
    exact = pipeline.restore_signal(image, scalars=known)
    seen = []
    engine = pipeline.engine
    engine.diffusion_model.unet.stem.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    engine.predictor.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    engine.precision = torch.bfloat16
    reduced = pipeline.restore_signal(image, scalars=known)
    assert seen == [torch.float32, *[torch.bfloat16] * 3]
    assert reduced.dtype == np.float32
    difference = np.abs(reduced - exact)
    assert 0 < difference.mean() < 0.5 * 2 / 255, "half a level of 255"
    assert np.unique(reduced).size > 5000, (
        "control: bf16 itself has 257 numbers from -1 to 1 in steps of 1/128"
    )
    split = pipeline.restore_signal(image, scalars=known, patch_size=84)
    assert np.abs(split - reduced).mean() < 0.5 * 2 / 255
    engine.precision = torch.float32
    assert np.array_equal(pipeline.restore_signal(image, scalars=known), exact)


@pytest.mark.parametrize("cached", [True, False])
def test_weights_are_reduced_once_a_session(random_pipeline, monkeypatch, cached):
    pipeline, image = random_pipeline(), image_of(64, 72)
    pipeline.engine.precision = torch.bfloat16
    if not cached:  # the control
        monkeypatch.setattr(torch_engine, "cached_casts", lambda _: nullcontext())
    kernels = sum(p.ndim == 4 for p in pipeline.engine.diffusion_model.parameters())
    counts = []
    for steps in (2, 6):
        with CountCasts() as counter:
            pipeline.restore_signal(image, steps=steps)
        counts.append(counter.casts)
    assert counts[0] >= kernels
    assert counts[1] - counts[0] == (0 if cached else 4 * kernels)


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_networks_of_16_bits_give_float32(random_pipeline, dtype):
    pipeline = random_pipeline()
    exact = pipeline.restore_signal(image_of(16, 16))
    pipeline.engine.predictor.to(dtype)
    pipeline.engine.diffusion_model.to(dtype)
    restored = pipeline.restore_signal(image_of(16, 16))
    assert restored.dtype == np.float32
    assert np.abs(restored - exact).mean() < 0.02


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried …"
        ),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not execute a primitive"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_a_full_memory_is_a_memory_error(random_pipeline, monkeypatch, error):
    pipeline = random_pipeline()

    def full(*_):
        raise error

    monkeypatch.setattr(pipeline.engine.predictor, "forward", full)
    with pytest.raises(MemoryError):
        pipeline.engine.predict(image_of(8, 8))


def test_another_error_stays_what_it_is(random_pipeline, monkeypatch):
    pipeline = random_pipeline()

    def broken(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(pipeline.engine.predictor, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        pipeline.engine.predict(image_of(8, 8))


def test_each_thread_has_cuda_graphs_of_its_own(random_pipeline, monkeypatch):
    used = []

    class Graphs:
        def __init__(self, network):
            self.network = network

        def __call__(self, *arguments):
            used.append((threading.get_ident(), self))
            return self.network(*arguments)

    monkeypatch.setattr(torch_engine, "CudaGraphRunner", Graphs)
    monkeypatch.setattr(torch_engine, "should_capture", lambda *_: True)
    pipeline, meeting = random_pipeline(), threading.Barrier(2, timeout=60)

    def restore(_):
        pipeline.restore_signal(image_of(8, 8), steps=3, on_step=lambda *_: meeting.wait())

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(restore, range(2)))
    assert len(used) == 6
    assert len(set(used)) == len({graphs for _, graphs in used}) == 2


def test_images_that_cannot_be_written_are_copied(random_pipeline):
    engine, image = random_pipeline().engine, image_of(16, 16)
    expected = engine.predict(image)
    image.flags.writeable = False
    assert np.array_equal(engine.predict(image), expected)
    np.testing.assert_allclose(engine.predict(image[..., ::-1]).shape, image.shape)


@NEEDS_GPU
def test_a_gpu_that_is_really_full_gets_smaller_patches(random_pipeline, caplog):
    pipeline = random_pipeline("cuda")
    image = image_of(1000, 1100)
    whole = pipeline.restore_signal(image, seed=7)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    pipeline.restore_signal(image_of(400, 400))
    room = torch.cuda.max_memory_allocated() * 1.3 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(room)
    try:
        result = pipeline.restore_signal(image, seed=7)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "is full: going on with patches of" in caplog.text
    assert np.abs(result - whole).max() < 1e-2  # cuDNN takes other algorithms, and TF32, for other sizes
