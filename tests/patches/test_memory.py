"""A device whose memory is full gets smaller patches, and the picture stays the same."""

import os
import sys
from pathlib import Path

import pytest
import torch
from machine import NEEDS_GPU
from random_images import image_of, run

from ucdir.errors import DeviceError
from ucdir.patches import memory
from ucdir.patches.memory import trim_heap


def test_a_full_device_is_told_in_one_sentence(random_pipeline, monkeypatch):
    pipeline = random_pipeline()

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pipeline.predictor, "forward", full)
    with pytest.raises(
        DeviceError, match=r"'cpu': .*patches of 100 pixels; choose .* down to \d+, or the device"
    ):
        run(pipeline, image_of(8, 8), patch_size=100)


def test_a_full_device_gets_smaller_patches_and_the_same_picture(random_pipeline, monkeypatch, caplog):
    pipeline = random_pipeline()
    image = image_of(150, 170)
    whole = run(pipeline, image, seed=7)
    held = {}
    for name, network in (("predictor", pipeline.predictor), ("diffusion_model", pipeline.diffusion_model)):

        def limited(*patches, forward=network.forward, name=name, **rest):
            held.setdefault(name, []).append(max(patches[0].shape[2:]))
            if max(patches[0].shape[2:]) > 100:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(*patches, **rest)

        monkeypatch.setattr(network, "forward", limited)
    result = run(pipeline, image, seed=7)
    assert torch.allclose(result, whole, atol=1e-4)
    assert "the memory of cpu is full: going on with patches of" in caplog.text
    too_large = [size for size in held["diffusion_model"] if size > 100]
    assert not too_large, "what the predictor has found out holds for the diffusion model"
    with pytest.raises(DeviceError, match="does not hold patches of 150 pixels; choose a smaller"):
        run(pipeline, image, seed=7, patch_size=150)


def test_a_device_too_small_for_anything_is_told(random_pipeline, monkeypatch):
    pipeline = random_pipeline()

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pipeline.predictor, "forward", full)
    with pytest.raises(DeviceError, match=r"does not hold patches of \d+ pixels; choose the device cpu"):
        run(pipeline, image_of(150, 170))


@NEEDS_GPU
def test_a_gpu_that_is_really_full_gets_smaller_patches(random_pipeline, caplog):
    pipeline = random_pipeline().to("cuda")
    image = image_of(1000, 1100)
    whole = run(pipeline, image, seed=7)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run(pipeline, image_of(400, 400))
    room = torch.cuda.max_memory_allocated() * 1.3 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(room)
    try:
        result = run(pipeline, image, seed=7)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "is full: going on with patches of" in caplog.text
    assert (result - whole).abs().max() < 1e-2  # cuDNN takes other algorithms, and TF32, for other sizes


def test_memory_is_handed_back_between_patches(random_pipeline, monkeypatch):
    calls = []
    monkeypatch.setattr("ucdir.patches.split.trim_heap", lambda: calls.append(1))
    pipeline = random_pipeline()
    run(pipeline, image_of(90, 90), num_inference_steps=1)
    assert not calls, "a whole image leaves no holes that matter"
    run(pipeline, image_of(90, 90), num_inference_steps=1, patch_size=84)
    assert len(calls) == 18, "before each of the 9 patches of each network"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library of Linux")
def test_what_is_handed_back_is_the_systems():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    trim_heap()
    blocks = [bytearray(b"x" * 100_000) for _ in range(1000)]  # below what malloc asks the system for singly
    pinned = blocks[::50]
    held = resident()
    del blocks
    trim_heap()
    assert held - resident() > 60e6
    assert len(pinned) == 20


def test_where_the_c_library_cannot_nothing_happens(monkeypatch):
    monkeypatch.setattr("ucdir.patches.memory.sys.platform", "darwin")
    memory._malloc_trim.cache_clear()
    assert memory._malloc_trim() is None
    trim_heap()
    memory._malloc_trim.cache_clear()
