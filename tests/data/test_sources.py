"""Crops of degraded photographs, of real pairs, and of both."""

import numpy as np
import pytest

from ucdir.data import sources as module
from ucdir.data.sources import DegradedPhotos, Mixture, RealPairs
from ucdir.tasks import Example


class Store:
    """Pictures in memory: red is the picture's number, green its row, blue its column."""

    def __init__(self, *sizes):
        y, x = np.mgrid[:256, :256].astype(np.uint8)
        self.pictures = [
            np.ascontiguousarray(np.dstack([np.full_like(y, i), y, x])[:h, :w])
            for i, (h, w) in enumerate(sizes)
        ]

    def __getitem__(self, index):
        return self.pictures[index]


class Pairs(Store):
    scalars = ({"exposure_ratio": 100.0}, {})

    def __getitem__(self, index):
        return self.pictures[index] // 2, self.pictures[index]


def mark_border(clean, rng, side):
    """Spoils two pixels at each border, as a degradation does that looks beyond the crop."""
    degraded = np.full_like(clean, 255)
    degraded[2:-2, 2:-2] = clean[2:-2, 2:-2]
    return Example(clean, degraded, {"seed": float(rng.random())})


def photos(*sizes, margin=2, flip=False, chosen=None):
    store = Store(*sizes)
    return DegradedPhotos(store, chosen or range(len(sizes)), mark_border, lambda side: margin, flip)


@pytest.mark.parametrize("flip", [False, True])
def test_the_margin_is_looked_at_and_cut_off(flip):
    source = photos((40, 50), flip=flip)
    for n in range(30):
        clean, degraded, _ = source.crop(np.random.default_rng(n), 12)
        assert clean.shape == degraded.shape == (12, 12, 3)
        assert np.array_equal(clean, degraded)
        assert clean.flags.c_contiguous
        assert degraded.flags.c_contiguous
    _, spoilt, _ = photos((40, 50), margin=0).crop(np.random.default_rng(0), 12)
    assert (spoilt == 255).all(axis=2).sum() == 12 * 12 - 8 * 8, "control: without a margin the border shows"


@pytest.mark.parametrize("size", [(12, 40), (13, 13), (12, 12)])
def test_a_photograph_with_no_room_for_the_margin_still_gives_whole_crops(size):
    for n in range(20):
        clean, degraded, _ = photos(size).crop(np.random.default_rng(n), 12)
        assert clean.shape == degraded.shape == (12, 12, 3)


def test_both_pictures_of_a_pair_are_cut_and_turned_alike():
    source = RealPairs(Pairs((30, 40), (20, 20)), [0, 1], flip=True)
    places, numbers = set(), set()
    for n in range(60):
        clean, degraded, scalars = source.crop(np.random.default_rng(n), 10)
        assert np.array_equal(degraded, clean // 2)
        assert scalars == Pairs.scalars[clean[0, 0, 0]]
        places.add(clean.tobytes())
        numbers.add(int(clean[0, 0, 0]))
    assert numbers == {0, 1}
    assert len(places) > 50


def test_without_flip_pictures_stay_upright():
    clean, _, _ = RealPairs(Pairs((30, 40)), [0], flip=False).crop(np.random.default_rng(0), 10)
    assert (np.diff(clean[..., 1].astype(int), axis=0) == 1).all()
    assert (np.diff(clean[..., 2].astype(int), axis=1) == 1).all()


def test_the_difference_of_a_pair_is_scaled():
    shares = []
    for n in range(60):
        source = RealPairs(Pairs((30, 40)), [0], flip=True, scale=(0.0, 1.5))
        clean, degraded, _ = source.crop(np.random.default_rng(n), 10)
        change = clean.astype(int) - degraded
        shares.append(change.sum() / (clean - clean // 2).sum())
        assert np.abs(change - shares[-1] * (clean - clean // 2)).max() <= 1.5
    assert min(shares) < 0.1
    assert 1.3 < max(shares) <= 1.55
    assert 0.6 < np.mean(shares) < 0.9


def test_a_mixture_has_its_share_of_pairs():
    pairs = RealPairs(Pairs((30, 40)), [0], flip=False)
    mixture = Mixture([(0.25, pairs), (0.75, photos((30, 40)))])
    drawn = [mixture.crop(np.random.default_rng(n), 10).scalars for n in range(400)]
    assert 70 <= sum("exposure_ratio" in scalars for scalars in drawn) <= 130
    assert mixture.middle(0, np.random.default_rng(0), 8).scalars == {"exposure_ratio": 100.0}


@pytest.mark.parametrize(("size", "shown"), [((40, 50), (16, 16)), ((10, 50), (10, 16))])
def test_the_middle_to_look_at(size, shown):
    rng = np.random.default_rng(0)
    clean, degraded, _ = photos(size).middle(0, rng, 16)
    assert clean.shape == degraded.shape == (*shown, 3)
    assert clean[..., 2].mean() == pytest.approx((size[1] - 1) / 2, abs=0.5)
    clean, degraded, _ = RealPairs(Pairs(size), [0], flip=True).middle(0, rng, 16)
    assert clean.shape == (*shown, 3)
    assert np.array_equal(degraded, clean // 2)
    assert clean[..., 1].mean() == pytest.approx((size[0] - 1) / 2, abs=0.5)


def test_a_source_is_a_function_of_the_generator():
    source = photos((40, 50), (30, 30), flip=True)
    first, again = (source.crop(np.random.default_rng(5), 12) for _ in range(2))
    assert np.array_equal(first.degraded, again.degraded)
    assert first.scalars == again.scalars


def test_share_of_drawn_pages():
    store = Store((64, 64))
    for share in (0.0, 0.3, 1.0):
        source = DegradedPhotos(store, [0], mark_border, lambda side: 2, flip=False, documents_share=share)
        crops = [source.crop(np.random.default_rng(n), 16) for n in range(150)]
        assert all(example.clean.shape == (16, 16, 3) for example in crops)
        drawn = [not (np.diff(example.clean[..., 1].astype(int), axis=0) == 1).all() for example in crops]
        assert np.mean(drawn) == pytest.approx(share, abs=0.1)


class HalfFlat(Pairs):
    """The upper half is flat."""

    def __getitem__(self, index):
        picture = np.zeros((128, 128, 3), np.uint8)
        picture[64:] = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
        return picture // 2, picture


def test_the_place_with_more_detail_is_taken():
    def flat(candidates):
        source = RealPairs(HalfFlat((1, 1), (1, 1)), [0], flip=True, candidates=candidates)
        crops = [source.crop(np.random.default_rng(n), 16) for n in range(300)]
        assert all(np.array_equal(crop.degraded, crop.clean // 2) for crop in crops)
        return np.mean([not crop.clean.any() for crop in crops])

    assert flat(1) == pytest.approx(0.43, abs=0.07)
    assert flat(3) == pytest.approx(0.43**3, abs=0.05)


def test_a_drawn_page_has_one_place(monkeypatch):
    looked_at, detail = [], module._detail
    monkeypatch.setattr(module, "_detail", lambda image: looked_at.append(image.shape) or detail(image))

    def crop(share, candidates):
        source = DegradedPhotos(
            Store((64, 80)), [0], mark_border, lambda side: 2, flip=True, documents_share=share, candidates=candidates
        )  # fmt: skip
        return source.crop(np.random.default_rng(5), 24).clean

    np.testing.assert_array_equal(crop(1.0, 3), crop(1.0, 1))
    assert not looked_at
    crop(0.0, 3)
    assert len(looked_at) == 3, "the control: places of a photograph are compared"


def test_photographs_are_shrunk_as_far_as_they_are_large_enough():
    def factors(*size, most):
        """Of ramps that rise by one level a pixel."""
        source = DegradedPhotos(
            Store(size), [0], mark_border, lambda side: 2, flip=False, candidates=2, most_shrunk=most
        )
        crops = [source.crop(np.random.default_rng(n), 16).clean for n in range(100)]
        assert all(crop.shape == (16, 16, 3) for crop in crops)
        return [(int(crop[-1, 0, 1]) - int(crop[0, 0, 1])) / 15 for crop in crops]

    assert set(factors(200, 200, most=1)) == {1}, "control"
    shrunk = factors(200, 200, most=4)
    assert min(shrunk) < 1.2
    assert np.median(shrunk) == pytest.approx(2, abs=0.4)
    assert 3.5 < max(shrunk) < 4.1
    assert max(factors(30, 200, most=4)) == pytest.approx(1.5, abs=0.1)
    assert set(factors(18, 200, most=4)) == {1}, "no room for the margin"
