"""A crop is a function of (seed, step, place), and all of them together cover what they are drawn from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ucdir.config import DiffusionConfig
from ucdir.data.crops import Batches, Crops
from ucdir.data.photos import PhotoStore
from ucdir.data.sources import DegradedPhotos
from ucdir.diffusion.schedule import NoiseSchedule, sigma_of
from ucdir.tasks import Example

SIDE = 8


class Pictures(PhotoStore):
    """Photographs in memory: the red of a pixel is its photograph, green its row, blue its column."""

    @classmethod
    def of(cls, *sizes):
        store = cls(tuple("abcdef"[: len(sizes)]), sizes, (0,) * len(sizes), None)
        y, x = np.mgrid[:256, :256].astype(np.uint8)
        object.__setattr__(
            store, "planes", [np.dstack([np.full_like(y, i), y, x]) for i in range(len(sizes))]
        )
        return store

    def __getitem__(self, index):
        height, width = self.shapes[index]
        return self.planes[index][:height, :width]


def darken(clean, rng, side):
    return Example(clean, clean // 2, {"jpeg_quality": float(rng.integers(1, 101))})


def crops(photos=None, chosen=(0, 1), seed=0, batch_size=8, flip=False, **diffusion):
    photos = Pictures.of((20, 20), (20, 30), (16, 16)) if photos is None else photos
    source = DegradedPhotos(photos, chosen, darken, lambda side: 0, flip)
    diffusion = DiffusionConfig(**{"focus_probability": 0, **diffusion})
    return Crops(source, SIDE, ("jpeg_quality",), diffusion, seed, batch_size)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def back(image):
    """[3,h,w] in [-1,1] -> [h,w,3] in 0..255."""
    return ((image + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(int)


def test_what_an_item_holds():
    item = crops()[5]
    assert {name: tuple(t.shape) for name, t in item.items()} == {
        "clean": (3, SIDE, SIDE), "degraded": (3, SIDE, SIDE), "noise": (3, SIDE, SIDE),
        "noise_level": (), "step": (), "place": (), "scalar.jpeg_quality": (),
    }  # fmt: skip
    assert {t.dtype for name, t in item.items() if name not in ("step", "place")} == {torch.float32}
    assert [int(crops()[n]["step"]) for n in (0, 7, 8, 23)] == [0, 0, 1, 2]
    assert [int(crops()[n]["place"]) for n in (0, 7, 8, 23)] == [0, 7, 0, 7]
    np.testing.assert_array_equal(back(item["degraded"]), back(item["clean"]) // 2)


def test_a_function_of_seed_step_and_place():
    first, again = crops(seed=3), crops(seed=3)
    order = np.random.default_rng(0).permutation(64)
    items = {int(n): first[int(n)] for n in order}
    for n in range(64):
        assert equal(items[n], again[n])
    for other in (crops(seed=4)[5], crops(seed=3)[6], crops(seed=3)[5 + 8]):
        assert not torch.equal(items[5]["noise"], other["noise"])


def test_global_random_numbers_are_neither_used_nor_disturbed():
    data = crops()
    before = data[7]
    torch.manual_seed(5)
    np.random.seed(5)
    state = torch.random.get_rng_state()
    assert equal(data[7], before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_place_means_the_same_in_every_batch_size():
    """Step 3, place 2, is item 3·8 + 2 or 3·4 + 2: the noise is the same."""
    assert torch.equal(crops(batch_size=8)[26]["noise"], crops(batch_size=4)[14]["noise"])


@pytest.mark.parametrize("flip", [False, True])
def test_crops_are_parts_of_the_chosen_photographs(flip):
    data = crops(chosen=(0, 2), flip=flip)
    seen = set()
    for n in range(200):
        pixels = back(data[n]["clean"])
        photo, rows, columns = (np.unique(pixels[..., c]) for c in range(3))
        assert len(photo) == 1
        height, width = data.source.photos.shapes[photo[0]]
        assert list(rows) == list(range(rows[0], rows[0] + SIDE))
        assert rows[-1] < height
        assert list(columns) == list(range(columns[0], columns[0] + SIDE))
        assert columns[-1] < width
        seen.add(int(photo[0]))
    assert seen == {0, 2}


def test_all_places_of_all_photographs_are_equally_likely():
    data = crops(Pictures.of((SIDE + 2, SIDE + 3), (SIDE, SIDE)), chosen=(0, 1))
    corners = [tuple(back(data[n]["clean"])[0, 0]) for n in range(6000)]
    of_first = [corner[1:] for corner in corners if corner[0] == 0]
    assert len(of_first) / 6000 == pytest.approx(0.5, abs=0.03)
    counts = np.zeros((3, 4))
    for corner in of_first:
        counts[corner] += 1
    np.testing.assert_allclose(counts / len(of_first), 1 / 12, atol=0.02)


def test_all_eight_turns_and_mirrors_are_equally_likely():
    data = crops(Pictures.of((SIDE, SIDE)), chosen=(0,), flip=True)
    original = Pictures.of((SIDE, SIDE))[0]
    ways = [np.rot90(original, k)[:, ::m] for k in range(4) for m in (1, -1)]
    counts = np.zeros(8)
    for n in range(1600):
        pixels = back(data[n]["clean"])
        counts += [np.array_equal(pixels, way) for way in ways]
    assert counts.sum() == 1600
    np.testing.assert_allclose(counts / 1600, 1 / 8, atol=0.03)


def test_noise_is_normal():
    data = crops()
    noise = torch.stack([data[n]["noise"] for n in range(500)]).numpy()
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert (noise**4).mean() == pytest.approx(3, abs=0.1)
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.01


def fractions(data, steps):
    """t/T of each item: [steps, batch]."""
    levels = NoiseSchedule.of(data.diffusion).levels()
    found = [float(data[n]["noise_level"]) for n in range(steps * data.batch_size)]
    t = np.interp(found, levels[::-1], np.arange(len(levels))[::-1]) / (len(levels) - 1)
    return t.reshape(steps, data.batch_size)


def test_noise_levels_are_spread_over_the_places_of_a_batch():
    """Place i of B draws t from ((i, i+1]/B)·T: each batch sees all of T, and t is uniform over many."""
    t = fractions(crops(batch_size=8), 400)
    place = np.arange(8)
    assert np.all(t >= place / 8 - 1e-3)
    assert np.all(t <= (place + 1) / 8 + 1e-3)
    quantiles = np.quantile(t, np.linspace(0.05, 0.95, 19))
    np.testing.assert_allclose(quantiles, np.linspace(0.05, 0.95, 19), atol=0.01)
    assert len(np.unique(t)) == t.size, "continuous"


def test_noise_levels_of_the_straight_path():
    """Place i of B draws 1 - t = σ/σ₀ from (i, i+1]/B, whatever the focus; σ₀ is where sampling starts."""
    data = replace(crops(batch_size=8, path="straight", focus=0.5, focus_probability=0.9), start_fraction=0.3)
    levels = np.array([float(data[n]["noise_level"]) for n in range(1600)], np.float64).reshape(-1, 8)
    start = sigma_of(NoiseSchedule.of(data.diffusion).sampling_levels(1, 0.3)[0])
    fraction, place = np.sqrt(1 - levels**2) / levels / start, np.arange(8)
    assert np.all(fraction >= place / 8 - 1e-3)
    assert np.all(fraction <= (place + 1) / 8 + 1e-3)
    np.testing.assert_allclose(np.quantile(fraction, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.01)
    other = crops(batch_size=8)
    assert torch.equal(data[77]["noise"], other[77]["noise"]), "the path changes the level alone"
    assert data[77]["noise_level"] == data[77]["noise_level"] != other[77]["noise_level"]


@pytest.mark.parametrize("probability", [0.0, 0.75, 1.0])
def test_focused_noise_levels(probability):
    t = fractions(crops(batch_size=8, focus=0.4, focus_probability=probability), 400)
    expected = probability + (1 - probability) * 0.4
    assert np.mean(t <= 0.4) == pytest.approx(expected, abs=0.02)


def test_batches_of_what_is_left():
    assert list(Batches(5, 7, 4, 0, 1)) == [[20, 21, 22, 23], [24, 25, 26, 27]]
    assert list(Batches(5, 7, 4, 1, 2)) == [[22, 23], [26, 27]]
    for finished in (7, 9):
        assert list(Batches(finished, 7, 4, 0, 1)) == []
        assert len(Batches(finished, 7, 4, 0, 1)) == 0
