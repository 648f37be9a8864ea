"""In float32 a CPU's result is the same to the bit whatever the patches, the threads and the batch."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from random_images import image_of

from ucdir.engines import torch_engine
from ucdir.pipeline import load


@pytest.fixture
def pipelines(model_folder, exported, monkeypatch):
    """A function that gives the pipeline of an engine with a number of threads."""
    before = torch.get_num_threads()

    def of(engine, threads):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        torch.set_num_threads(threads)
        return load(exported if engine == "onnx" else model_folder, "cpu", "fp32", engine=engine)

    yield of
    torch.set_num_threads(before)


def in_parts(pipeline, image, folder, **options):
    result = np.full_like(image, np.nan)

    def write(rows, columns, samples):
        result[..., rows, columns] = samples[0]

    pipeline.restore_parts(
        lambda rows, columns: image[..., rows, columns].copy(),
        *image.shape[2:],
        write,
        folder=folder,
        **options,
    )
    return result


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_whole_in_patches_in_parts_and_in_a_batch(pipelines, tmp_path, engine):
    image, options = image_of(184, 248), {"steps": 2, "scalars": {"jpeg_quality": 30}}
    pipeline = pipelines(engine, 1)
    whole = pipeline.restore_signal(image, **options)
    for patch_size in (84, 124):
        assert np.array_equal(pipeline.restore_signal(image, patch_size=patch_size, **options), whole)
    assert np.array_equal(in_parts(pipeline, image, tmp_path, patch_size=92, **options), whole)
    two = np.concatenate([image, image[..., ::-1]])
    assert np.array_equal(pipeline.restore_signal(two, seed=[0, 1], **options)[:1], whole)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_by_any_number_of_threads(pipelines, engine):
    image = image_of(184, 248)  # which three threads do not share evenly
    results = [pipelines(engine, threads).restore_signal(image, steps=1) for threads in (1, 2, 3)]
    for result in results[1:]:
        assert np.array_equal(result, results[0])


def test_by_calls_in_several_threads_at_once(pipelines):
    """PyTorch's modes are each thread's own."""
    pipeline, image = pipelines("torch", 1), image_of(184, 248)
    whole = pipeline.restore_signal(image, steps=1)
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda size: pipeline.restore_signal(image, steps=1, patch_size=size), (84, 92))
        assert all(np.array_equal(result, whole) for result in results)


def test_pytorch_by_itself_rounds_differently(pipelines, monkeypatch):
    """The control; a PyTorch or a processor that rounds alike by itself needs no `_RoundedAlike`."""
    monkeypatch.setattr(torch_engine, "_RoundedAlike", nullcontext)
    pipeline, image = pipelines("torch", 1), image_of(184, 248)
    whole = pipeline.restore_signal(image, steps=1)
    differences = [
        np.abs(pipeline.restore_signal(image, steps=1, patch_size=84) - whole).max(),
        np.abs(pipelines("torch", 3).restore_signal(image, steps=1) - whole).max(),
    ]
    assert max(differences) < 1e-5
    if max(differences) == 0:
        pytest.skip("PyTorch rounds alike by itself on this processor")
