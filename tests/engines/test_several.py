"""Several devices share patches and images; two engines on the CPU stand in for two GPUs."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from ucdir.engines import SeveralEngines, all_devices, devices, split_devices
from ucdir.errors import ConfigError, DeviceError
from ucdir.patches.tile_runner import at_once
from ucdir.pipeline import RestorationPipeline, load
from ucdir.workflows import streamed
from ucdir.workflows.restore import restore


@pytest.fixture
def image(one_thread):
    return np.random.default_rng(0).uniform(0, 1, (90, 130, 3)).astype(np.float32)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_the_same_picture(model_folder, image, engine):
    one = load(model_folder, "cpu", engine=engine, precision="fp32")
    two = load(model_folder, "cpu,cpu", engine=engine, precision="fp32")
    assert isinstance(two.engine, SeveralEngines)
    assert two.engine.device == "cpu,cpu"
    seen = [0, 0]

    def counted(number):
        forward = two.engine.engines[number].denoise

        def call(*arguments, **conditions):
            seen[number] += 1
            return forward(*arguments, **conditions)

        two.engine.engines[number].denoise = call

    for number in range(2):
        counted(number)
    size = one.engine.receptive_field * 2 + 32
    expected = one(image, patch_size=size, seed=3)
    np.testing.assert_array_equal(two(image, patch_size=size, seed=3), expected)
    assert min(seen) > 0, "both did some of the patches"
    assert (one(image, patch_size=size, seed=4) != expected).any(), "control: it depends on the noise"


def test_the_same_file_part_by_part(model_folder, image, tmp_path, monkeypatch):
    """As large photos are restored."""
    photo = tmp_path / "photo.png"
    Image.fromarray((image * 255).astype(np.uint8)).save(photo)
    monkeypatch.setattr(streamed, "STREAMED_PIXELS", 1000)
    for device in ("cpu", "cpu,cpu"):
        pipeline = load(model_folder, device, engine="onnx")
        options = {"scalars": {"jpeg_quality": 20}, "patch_size": 2 * pipeline.engine.receptive_field + 32}
        restore(photo, tmp_path / f"{device}.png", task="jpeg_restoration", pipeline=pipeline, **options)
    assert (tmp_path / "cpu.png").read_bytes() == (tmp_path / "cpu,cpu.png").read_bytes()


class Meeting:
    """An engine whose forward passes end only when another one's is running, too."""

    receptive_field, multiple_of, bytes_per_pixel, scalars, prediction, device = (
        2,
        2,
        0,
        (),
        "residual",
        "cpu",
    )

    def __init__(self, meeting):
        self.meeting, self.open = meeting, 0

    @contextmanager
    def session(self, forward_passes):
        self.thread, self.open = threading.current_thread(), self.open + 1
        yield
        assert self.thread is threading.current_thread()
        self.open -= 1

    def predict(self, degraded):
        assert self.open == 1
        assert self.thread is threading.current_thread(), "what PyTorch caches belongs to a thread"
        self.meeting.wait()
        return degraded / 2

    def denoise(self, noisy, *_, **__):
        return 0 * noisy


def meeting_pipeline(random_pipeline):
    meeting = threading.Barrier(2, timeout=20)
    engine = SeveralEngines([Meeting(meeting), Meeting(meeting)])
    return RestorationPipeline(engine, random_pipeline().config)


def test_patches_of_one_image_run_at_once(random_pipeline, image):
    pipeline = meeting_pipeline(random_pipeline)
    restored = pipeline(image, patch_size=66)  # 2 x 3 patches: no one waits for nobody
    assert np.isfinite(restored).all()
    assert [engine.open for engine in pipeline.engine.engines] == [0, 0]


def test_images_run_at_once(random_pipeline, image):
    """Sessions of two threads are one, and end with the last."""
    pipeline, results = meeting_pipeline(random_pipeline), []
    threads = [threading.Thread(target=lambda: results.append(pipeline(image))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert [engine.open for engine in pipeline.engine.engines] == [0, 0]


def test_an_error_of_one_patch_ends_the_others():
    begun = []

    def fails(number):
        begun.append(number)
        raise MemoryError

    with pytest.raises(MemoryError):
        list(at_once(2, fails, range(100)))
    assert len(begun) < 10
    assert list(at_once(3, np.square, range(20))) == [n * n for n in range(20)]


def test_names_of_devices(model_folder, monkeypatch):
    assert split_devices("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]
    monkeypatch.setattr(devices, "count_devices", lambda kind: {"cuda": 3}[kind])
    assert all_devices("cuda") == "cuda:0,cuda:1,cuda:2"
    assert all_devices("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match="several kinds of device differ"):
        load(model_folder, "cpu,cuda:0")
    with pytest.raises(DeviceError, match=r"device '' is not available"):
        load(model_folder, ",", engine="torch")
