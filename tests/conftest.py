"""Fixtures for the whole suite."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Programs that the tests start import this package, whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it starts in the background ignore Ctrl-C, and some tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_download():
    """`torch.hub.download_url_to_file` before it is taken away."""
    if find_spec("torch") is None:
        return None
    import torch

    return torch.hub.download_url_to_file


@pytest.fixture(autouse=True)
def _offline(monkeypatch, real_download):
    """Nothing is fetched while testing."""
    if real_download is None:
        return
    import urllib.error

    import torch

    def no_network(*_, **__):
        raise urllib.error.URLError("no network while testing")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nonexistent/hub")


@pytest.fixture
def one_thread():
    """Small networks are fastest on one thread, on a busy machine many times over; and sums round the same."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of data that comes with the tests."""
    return ROOT / "tests" / "data"


def pytest_collection_modifyitems(items):
    """Mark the tests that use the data folder beside the repository."""
    for item in items:
        if "shared" in item.fixturenames:
            item.add_marker("needs_data")


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The data folder beside the repository, present or not."""
    return Path(os.environ.get("UCDIR_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared(shared_folder):
    """A function `shared(path)`: a file of the data folder beside the repository; skips where it is absent."""

    def locate(path: str) -> Path:
        found = shared_folder / path
        if not found.exists():
            pytest.skip("needs data that is not in the repository, see tests/data/README.md")
        return found

    return locate


@pytest.fixture(scope="session")
def metric_weights(test_data, tmp_path_factory) -> Path:
    """A folder as UCDIR_WEIGHTS names it, with the features of an AlexNet that was never trained."""
    import torch

    from ucdir.metrics.lpips import AlexNetTrunk

    folder = tmp_path_factory.mktemp("metric_weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(AlexNetTrunk().state_dict(), folder / "alexnet_features.pth")
    for file in (test_data / "weights").iterdir():
        (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture(scope="session")
def random_networks():
    """A function that makes a small predictor and diffusion model of random weights, the same each time."""
    import torch

    from ucdir.config import ModelConfig
    from ucdir.model.framework import build

    def make(**changes):
        predictor = {"channels": 8, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 2}
        diffusion_model = {**predictor, "kernel_bases": 2, "scalar_channels": 16, "sigma_data": 0, **changes}
        networks = build(
            ModelConfig.model_validate({"predictor": predictor, "diffusion_model": diffusion_model})
        )
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for network in networks:
                network.eval().to(memory_format=torch.channels_last)
                for parameter in network.parameters():
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.copy_(
                        noise * (0.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1)
                    )
        return networks

    return make


@pytest.fixture(scope="session")
def random_pipeline(random_networks):
    """A function that makes a small pipeline of random weights: `random_pipeline(sampler="ddim", eta=0.0)`.

    `diffusion_model` changes settings of that network.
    """
    from ucdir.config.pipeline import PipelineConfig
    from ucdir.engines.torch_engine import TorchEngine
    from ucdir.pipeline import RestorationPipeline

    def make(device="cpu", diffusion_model=(), **settings):
        config = {"sampler": "ddim", "steps": 3, "start_fraction": 0.4, "eta": 0.0, "residual_scale": 5.0}
        networks = (network.to(device) for network in random_networks(**dict(diffusion_model)))
        return RestorationPipeline(TorchEngine(*networks, device), PipelineConfig(**{**config, **settings}))

    return make


@pytest.fixture(scope="session")
def model_folder(random_pipeline, tmp_path_factory) -> Path:
    """A folder with a small model of random weights."""
    from ucdir.model.weights import save_model

    folder, pipeline = tmp_path_factory.mktemp("models") / "random", random_pipeline()
    save_model(folder, pipeline.engine.predictor, pipeline.engine.diffusion_model, pipeline.config)
    return folder
