"""CUDA graphs: what is captured and when, and on a GPU the same images as without."""

import numpy as np
import pytest
import torch
from machine import NEEDS_GPU
from random_images import image_of
from torch import nn

from ucdir.engines import cuda_graphs
from ucdir.engines.cuda_graphs import MIN_PASSES, WARM_UP_PASSES, CudaGraphRunner, should_capture
from ucdir.errors import DeviceError

CUDA = torch.device("cuda")


class Network(nn.Module):
    """Forward passes are counted; scalars are added up."""

    def __init__(self):
        super().__init__()
        self.evaluations = 0

    def forward(self, noisy, degraded, guidance, noise_level, scalars):
        self.evaluations += 1
        return (noisy + noise_level[:, None, None, None]) * degraded + guidance + sum(scalars.values(), 0)


def arguments(side=4, scalar=1.0, device="cpu"):
    images = [torch.randn(1, 3, side, side, device=device) for _ in range(3)]
    return *images, torch.rand(1, device=device), {"quality": torch.tensor([scalar], device=device)}


class Fake:
    """A graph without a GPU: calls what was captured, and counts."""

    made = 0

    def __init__(self, run, tensors, stream, pool=None):
        Fake.made += 1
        self.run, self.graph = run, self
        assert all(torch.is_tensor(t) for t in tensors)

    def pool(self):
        return 0, 0

    def __call__(self, tensors):
        return self.run(*tensors)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "CapturedGraph", Fake)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: device)
    monkeypatch.setattr(Fake, "made", 0)
    return Fake


def test_each_shape_runs_as_usual_first_and_is_then_captured_once(fake):
    network = CudaGraphRunner(Network())
    for _ in range(WARM_UP_PASSES):
        network(*arguments())
    assert fake.made == 0
    for scalar in (1.0, 2.0, 3.0):
        given = arguments(scalar=scalar)
        assert torch.equal(network(*given), Network()(*given))
    assert fake.made == 1
    for _ in range(WARM_UP_PASSES + 2):
        network(*arguments(side=6))
    assert fake.made == 2
    for _ in range(WARM_UP_PASSES + 2):
        network(*arguments()[:4], {})
    assert fake.made == 3, "what is known of the degradation is part of the shape"
    with torch.autocast("cpu", torch.bfloat16):
        network(*arguments())
    assert fake.made == 3, "in another type nothing was seen yet"


def test_what_cannot_be_captured_is_reported(fake, monkeypatch):
    def refuses(self, *_):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(Fake, "__init__", refuses)
    network = CudaGraphRunner(Network())
    for _ in range(WARM_UP_PASSES):
        network(*arguments())
    with pytest.raises(
        DeviceError, match=r"Network: .* \(operation not .* capturing\); set .* cuda_graphs to False"
    ):
        network(*arguments())


def test_where_memory_is_full_the_graphs_are_given_up(fake, monkeypatch):
    network = CudaGraphRunner(Network())
    for _ in range(WARM_UP_PASSES + 1):
        network(*arguments())
    assert len(network.graphs) == 1

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(network.network, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        network(*arguments(side=6))
    assert not network.graphs


def test_when_a_capture_pays_off():
    network = nn.Sequential(Network())
    assert should_capture(network, CUDA, MIN_PASSES)
    assert not should_capture(network, CUDA, MIN_PASSES - 1)
    assert not should_capture(network, torch.device("cpu"), MIN_PASSES)
    handle = network[0].register_forward_hook(lambda *_: None)
    assert not should_capture(network, CUDA, MIN_PASSES), "who watches a layer wants to see each evaluation"
    handle.remove()
    assert should_capture(network, CUDA, MIN_PASSES)
    network[0]._diffusers_hook = object()
    assert not should_capture(network, CUDA, MIN_PASSES), "diffusers casts and moves weights at each call"
    del network[0]._diffusers_hook
    network[0].compile(backend="eager")
    assert not should_capture(network, CUDA, MIN_PASSES)
    assert not should_capture(torch.compile(Network(), backend="eager"), CUDA, MIN_PASSES)


@NEEDS_GPU
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_the_same_with_graphs_and_without(random_pipeline, precision, monkeypatch):
    pipeline = random_pipeline("cuda")
    pipeline.engine.precision = precision
    image = image_of(100, 130, batch=2)
    made = []
    init = cuda_graphs.CapturedGraph.__init__

    def counted(self, *given):
        made.append(1)
        init(self, *given)

    monkeypatch.setattr(cuda_graphs.CapturedGraph, "__init__", counted)
    results = []
    for graphs in (False, True):
        pipeline.engine.cuda_graphs = graphs
        for options in ({}, {"patch_size": 80}):
            given = {"jpeg_quality": [10, 30]}
            results.append(pipeline.restore_signal(image, steps=10, seed=3, scalars=given, **options))
        assert bool(made) == graphs
    np.testing.assert_allclose(results[0], results[2], atol=1e-5)
    np.testing.assert_allclose(results[1], results[3], atol=1e-5)


@NEEDS_GPU
def test_a_gpu_that_is_full_while_capturing_gets_smaller_patches(random_pipeline, monkeypatch, caplog):
    pipeline = random_pipeline("cuda")
    image, engine = image_of(700, 600), pipeline.engine
    engine.cuda_graphs = False
    whole = pipeline.restore_signal(image, steps=8, seed=7)
    engine.cuda_graphs = True

    def greedy(*patches, forward=engine.diffusion_model.forward):
        if torch.cuda.is_current_stream_capturing() and max(patches[0].shape[2:]) > 500:
            torch.empty(2**50, device="cuda")
        return forward(*patches)

    monkeypatch.setattr(engine.diffusion_model, "forward", greedy)
    result = pipeline.restore_signal(image, steps=8, seed=7)
    assert "is full: going on with patches of" in caplog.text
    assert np.abs(result - whole).max() < 1e-2  # cuDNN takes other algorithms, and TF32, for other sizes
