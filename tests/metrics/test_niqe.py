"""NIQE: BasicSR's numbers, its parts by hand, and what cannot be measured."""

import math

import numpy as np
import pytest
import torch

from ucdir.errors import DataError, WeightsError
from ucdir.metrics.niqe import STATISTICS, Niqe, _fitted, halved, luma

# scikit-image's photographs, measured with BasicSR 1.4.2 on luma
OFFICIAL = {
    "astronaut": 3.06495, "coffee": 4.11524, "chelsea": 2.62552, "rocket": 6.96915, "camera": 3.15522,
    "brick": 10.00098,
}  # fmt: skip

NAME = STATISTICS.published_name


@pytest.fixture(scope="module")
def niqe(test_data):
    return Niqe(test_data / "weights" / NAME)


def photo(name):
    data = pytest.importorskip("skimage.data")
    pixels = getattr(data, name)()
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float() / 127.5 - 1


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_numbers_of_basicsr(niqe, name):
    assert float(niqe(photo(name))) == pytest.approx(OFFICIAL[name], abs=0.02)


def test_control_the_older_variant_and_damage_show(niqe, test_data):
    image = photo("chelsea")
    older = Niqe(test_data / "weights", antialiased=False)
    assert abs(older(image)[0] - OFFICIAL["chelsea"]) > 0.1
    noisy = image + 0.2 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert niqe(noisy)[0] > niqe(image)[0] + 1


def test_luma_by_hand():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]], np.float64).T[:, None]
    assert luma(colours).tolist() == [[16, 235, 81, 41]]  # 16 + 219 · (0, 1, .299, .114)


def test_halving_keeps_what_is_even_and_averages_what_is_not():
    assert np.allclose(halved(np.full((12, 10), 7.0), antialiased=True), 7)
    ramp = np.arange(40.0)[None].repeat(8, axis=0)
    half = halved(ramp, antialiased=True)
    assert half.shape == (4, 20)
    assert np.allclose(half[:, 3:-3], ramp[:4, 6:-6:2] + 0.5)
    stripes = np.tile([0.0, 1.0], (8, 20))
    assert abs(halved(stripes, antialiased=True)[:, 3:-3] - 0.5).max() < 1e-9
    sixths = np.tile([0.0, 0.0, 1.0, 1.0, 0.0, 1.0], (8, 8))
    assert not np.allclose(halved(sixths, antialiased=True), halved(sixths, antialiased=False))


def test_the_fit_finds_the_distribution_it_was_drawn_from():
    rng = np.random.default_rng(0)
    shape, left, right = _fitted(rng.normal(0, 1, 200_000))
    assert shape == pytest.approx(2, abs=0.05)
    assert left == pytest.approx(math.sqrt(2), rel=0.02)
    assert right == pytest.approx(left, rel=0.02)
    shape, left, right = _fitted(rng.laplace(0, 1, 200_000))
    assert shape == pytest.approx(1, abs=0.03)
    skewed = np.abs(rng.normal(0, 1, 200_000)) * np.where(rng.random(200_000) < 0.25, -1, 3)
    _, left, right = _fitted(skewed)
    assert right > 2.5 * left


def test_a_batch_is_its_images(niqe):
    images = torch.cat([photo("chelsea")[..., :192, :200], photo("coffee")[..., :192, :200]])
    assert torch.equal(niqe(images), torch.cat([niqe(images[:1]), niqe(images[1:])]))


@pytest.mark.parametrize("shape", [(1, 3, 191, 300), (1, 1, 300, 300), (3, 300, 300)])
def test_what_cannot_be_measured(niqe, shape):
    with pytest.raises(DataError, match="at least 192 pixels a side"):
        niqe(torch.zeros(shape))


@pytest.mark.parametrize("textured", [0, 1])
def test_flat_images_cannot_be_measured(niqe, textured):
    """They ended in NumPy's own error, as there is no covariance of fewer than two blocks."""
    image = torch.zeros(1, 3, 192, 200)
    image[..., : 80 * textured, :80] = photo("chelsea")[..., : 80 * textured, :80]
    with pytest.raises(DataError, match=f"of 4 blocks of 96x96 pixels {textured} are not flat"):
        niqe(image)
    image[..., :80, :80] = photo("chelsea")[..., :80, :80]
    image[..., 112:, :80] = photo("coffee")[..., :80, :80]
    assert niqe(image).isfinite().all(), "two suffice"


def test_missing_or_other_statistics(tmp_path, monkeypatch):
    monkeypatch.delenv("UCDIR_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match=r"could not be fetched.*niqe_pris_params\.npz.*UCDIR_WEIGHTS"):
        Niqe()
    with pytest.raises(WeightsError, match=r"no niqe_pris_params\.npz is here"):
        Niqe(tmp_path)
    for content in (b"nothing", b""):
        (tmp_path / NAME).write_bytes(content)
        with pytest.raises(WeightsError, match="does not hold NIQE's statistics"):
            Niqe(tmp_path)
    np.savez(tmp_path / NAME, mu_pris_param=np.zeros(3))
    with pytest.raises(WeightsError, match="does not hold NIQE's statistics"):
        Niqe(tmp_path)
