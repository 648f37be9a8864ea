"""A forward pass in patches equals the pass on the whole image, in any memory that holds the smallest patch."""

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from random_images import image_of

from ucdir.errors import ConfigError, DeviceError
from ucdir.patches import TileRunner, smallest_patch, tile_runner

SIZES = [(1, 1), (3, 200), (200, 3), (64, 64), (97, 131), (150, 90), (8, 301)]


@dataclass
class Blur:
    """A local function: the mean over a square; its memory holds patches of so many pixels a side."""

    receptive_field: int = 8
    multiple_of: int = 4
    device: str = "cpu"
    bytes_per_pixel: int = 0
    holds: int = 10_000

    def __post_init__(self):
        self.seen = []

    def __call__(self, image, gain=1.0):
        self.seen.append(image.shape[-2:])
        assert all(side % self.multiple_of == 0 for side in image.shape[-2:])
        if max(image.shape[-2:]) > self.holds:
            raise MemoryError("full")
        padded = np.pad(image, ((0, 0), (0, 0), (8, 8), (8, 8)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (17, 17), axis=(2, 3))
        return gain * windows.mean((-2, -1), dtype=np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_split_equals_whole(size):
    blur, image = Blur(), image_of(*size, batch=2)
    whole = TileRunner(blur, 4000)(blur, image, gain=2.0)
    smallest = smallest_patch(8, 4)
    for patch_size in (smallest, smallest + 13):
        parts = TileRunner(blur, patch_size)(blur, image, gain=2.0)
        assert parts.shape == image.shape
        np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_control_too_little_overlap_shows():
    blur, image = Blur(), image_of(96, 96)
    whole = TileRunner(blur, 4000)(blur, image)
    short = Blur(receptive_field=4)
    assert np.abs(TileRunner(short, 24)(short, image) - whole).max() > 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_networks_split_equal_networks_whole(random_pipeline, one_thread, size):
    engine, image = random_pipeline().engine, image_of(*size, batch=2)
    known = {"level": 0.7, "scalars": {"jpeg_quality": np.array([10, 40], np.float32)}}
    smallest = smallest_patch(engine.receptive_field, engine.multiple_of)
    for forward, images, conditions in (
        (engine.predict, (image,), {}),
        (engine.denoise, (image, image[::-1], image), known),
    ):
        whole = TileRunner(engine, 4000)(forward, *images, **conditions)
        for patch_size in (smallest, smallest + 13):
            parts = TileRunner(engine, patch_size)(forward, *images, **conditions)
            np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_an_image_mapped_from_a_file_does_as_well(tmp_path):
    blur, image = Blur(), image_of(60, 70)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    assert np.array_equal(TileRunner(blur, 40)(blur, mapped), TileRunner(blur, 40)(blur, image))


def test_a_narrow_image_is_mirrored_to_two_coarsest_pixels():
    """A map 2 wide before a 2x2 convolution of stride 2 is what oneDNN makes NaN of in bf16."""
    blur = Blur()
    TileRunner(blur)(blur, image_of(33, 3))
    assert blur.seen == [(36, 8)]


# ------------------------------------------------------------------------------------------- how large patches are


def test_a_patch_too_small_is_refused_with_the_smallest_that_is_not():
    blur = Blur(receptive_field=16, multiple_of=8)
    with pytest.raises(ConfigError, match=r"patch size of 40 pixels is too small.*choose 48 or more"):
        TileRunner(blur, 40)(blur, image_of(100, 100))
    TileRunner(blur, 48)(blur, image_of(100, 100))
    TileRunner(blur, 40)(blur, image_of(40, 40))  # an image that fits into the patch needs no overlap


def test_large_images_and_large_batches_are_split():
    tiles = TileRunner(Blur())
    assert tiles.size(1, 1000, 1400) >= 1400, "one patch"
    assert tiles.size(1, 3000, 4000) == 896
    assert tiles.size(4, 3000, 4000) == 448
    assert 4 * tiles.size(4, 1000, 1000) ** 2 <= 1_400_000, "control: four of 1 MP are no single patch"
    assert tiles.size(10_000, 100, 100) >= 3 * 8


def test_what_is_free_chooses_the_size(monkeypatch):
    image = image_of(150, 170)
    whole = TileRunner(Blur())(Blur(), image)
    blur = Blur(bytes_per_pixel=1000)
    monkeypatch.setattr(tile_runner, "PASS_BYTES", 500)
    for free, side in ((100e6, 172), (12e6, 100), (2.6e6, 27)):
        monkeypatch.setattr(tile_runner, "free_memory", lambda limit, free=free: int(free))
        blur.seen.clear()
        tiles = TileRunner(blur)
        with tiles.fitted(image.shape, 6) as count:
            assert count == 1
            np.testing.assert_allclose(tiles(blur, image), whole, atol=1e-6)
            assert tiles.size(1, 152, 172) == side
        left = free - 6 * image.nbytes
        assert max(h * w for h, w in blur.seen) * 1000 + 500 <= left, "what it was told to take at most"


def test_of_a_batch_as_many_as_fit(monkeypatch):
    shape, bytes_of_one = (8, 3, 100, 100), 2 * 120_000 + 24 * 24 * 1000 + tile_runner.PASS_BYTES
    tiles = TileRunner(Blur(bytes_per_pixel=1000))
    found = {}
    for times in (1, 2, 5, 100):
        monkeypatch.setattr(tile_runner, "free_memory", lambda limit, times=times: times * bytes_of_one)
        with tiles.fitted(shape, 2) as found[times]:
            pass
    assert found[1] == 1
    assert 1 <= found[2] <= found[5] <= found[100] == 8
    monkeypatch.setattr(tile_runner, "free_memory", lambda limit: None)
    with tiles.fitted(shape, 2) as count:
        assert count == 8, "control: nothing known"


def test_an_image_that_does_not_fit_is_refused_before_anything_is_done():
    blur = Blur(bytes_per_pixel=1000)
    with pytest.raises(
        DeviceError, match=r"^an image of 4000x3000 pixels: this needs about 1\.0 GB more memory, and"
    ):
        TileRunner(blur).fitted((1, 3, 3000, 4000), 7, limit=1).__enter__()
    with pytest.raises(ConfigError, match="patch size of 8 pixels is too small"):
        TileRunner(blur, 8).fitted((1, 3, 3000, 4000), 7, limit=1).__enter__()


def test_a_thread_for_which_nothing_is_left_waits(monkeypatch):
    tiles, shape = TileRunner(Blur(bytes_per_pixel=1000)), (1, 3, 100, 100)
    room = 3 * 120_000 + tiles.needed(1, 100, 100)
    monkeypatch.setattr(tile_runner, "free_memory", lambda limit: room)
    inside, most = [], []

    def restore():
        with tiles.fitted(shape, 2):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=restore) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    room *= 4
    most.clear()
    with tiles.fitted(shape, 2):
        restore()
    assert most == [1], "control: with room for both it does not wait"
    assert tile_runner._claims == []


def test_a_full_memory_gets_smaller_patches_and_the_same_picture(caplog):
    image = image_of(150, 170)
    whole = TileRunner(Blur())(Blur(), image)
    blur = Blur(holds=100)
    tiles = TileRunner(blur)
    np.testing.assert_allclose(tiles(blur, image), whole, atol=1e-6)
    assert "the memory of cpu is full: going on with patches of" in caplog.text
    blur.seen.clear()
    tiles(blur, image)
    assert max(max(size) for size in blur.seen) <= 100, "what one pass has found out holds for the next"


def test_a_size_that_was_chosen_is_kept():
    blur = Blur(holds=80)
    with pytest.raises(
        DeviceError, match=r"'cpu': .*patches of 150 pixels; choose a smaller patch size, down to 24"
    ):
        TileRunner(blur, 150)(blur, image_of(150, 170))


@pytest.mark.parametrize(
    ("device", "advice"), [("cpu", "close other programs"), ("cuda:0", "choose the device cpu")]
)
def test_a_memory_too_small_for_anything_is_said(device, advice):
    blur = Blur(holds=0, device=device)
    with pytest.raises(
        DeviceError, match=rf"'{device}': its memory does not hold patches of \d+ pixels; {advice}"
    ):
        TileRunner(blur)(blur, image_of(150, 170))


def test_the_heap_is_trimmed_between_patches(monkeypatch):
    calls = []
    monkeypatch.setattr(tile_runner, "trim_heap", lambda: calls.append(1))
    blur = Blur()
    TileRunner(blur)(blur, image_of(90, 90))
    assert not calls, "a whole image leaves no holes that matter"
    TileRunner(blur, 64)(blur, image_of(90, 90))
    assert len(calls) == 4


def test_each_patch_is_reported():
    blur, seen = Blur(), []
    TileRunner(blur, 64, on_patch=lambda done, count: seen.append((done, count)))(blur, image_of(97, 131))
    count = len(blur.seen)
    assert count > 1
    assert seen == [(number, count) for number in range(1, count + 1)]
