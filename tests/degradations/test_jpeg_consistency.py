"""A consistent image compresses to the file's own coefficients: by a real encoder, whatever it was before."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from ucdir.degradations.jpeg_consistency import nearest_consistent, share_consistent
from ucdir.errors import DataError
from ucdir.images.jpeg_coefficients import jpeg_coefficients

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def picture(height, width, seed=0, channels=3):
    """Smooth colour that reaches black and white, an edge, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(y / (5 + c)) + np.cos(x / (7 - c)) + (x > width / 2) for c in range(channels)]
    noisy = np.stack(waves, axis=-1) * 70 + 90 + rng.normal(0, 12, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "JPEG", **options)
    return file.getvalue()


def identical(pixels, data, subsampling):
    """Share of a file's coefficients that Pillow writes for an image with the file's tables."""
    tables = Image.open(io.BytesIO(data)).quantization
    again = jpeg_coefficients(jpeg(pixels, qtables=tables, subsampling=subsampling)).planes
    same = [a.levels == b.levels for a, b in zip(again, jpeg_coefficients(data).planes, strict=True)]
    return np.concatenate([s.ravel() for s in same]).mean()


def blurred(pixels):
    """Without detail and at half the contrast: it contradicts the file nearly everywhere."""
    rows = np.pad(pixels.astype(float), ((2, 2), (2, 2), (0, 0)), mode="edge")
    height, width = pixels.shape[:2]
    means = np.mean([rows[v : v + height, h : h + width] for v in range(5) for h in range(5)], axis=0)
    return (means / 2 + 50).astype(np.uint8)


@pytest.mark.parametrize("size", [(48, 64), (45, 59), (33, 49), (1, 1), (8, 3), (17, 40)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [5, 10, 40, 80])
def test_a_real_encoder_gives_the_same_coefficients(size, subsampling, quality):
    clean = picture(*size)
    data = jpeg(clean, quality=quality, subsampling=subsampling)
    start = blurred(clean)
    found = nearest_consistent(start, jpeg_coefficients(data))
    assert found.dtype == np.uint8
    assert found.shape == clean.shape
    assert identical(found, data, subsampling) >= 0.999
    if min(size) > 32:
        assert identical(start, data, subsampling) < 0.99, "control: it is not so by itself"


def test_grey():
    clean = picture(45, 59, channels=1)
    data = jpeg(clean, quality=30)
    found = nearest_consistent(blurred(clean), jpeg_coefficients(data))
    assert identical(found, data, -1) == 1


def test_progressive_files_say_the_same():
    clean = picture(40, 40)
    found = [
        nearest_consistent(
            blurred(clean), jpeg_coefficients(jpeg(clean, quality=20, progressive=progressive))
        )
        for progressive in (False, True)
    ]
    assert np.array_equal(*found)


def test_a_block_by_hand():
    """Grey, one block: only the coefficient that lies outside its cell moves, to a level inside its edge."""
    data = jpeg(np.full((8, 8, 1), 128, np.uint8), qtables=[[20] * 64], quality=50)
    file = jpeg_coefficients(data)
    assert not file.planes[0].levels.any()
    wave = np.cos((2 * np.arange(8) + 1) * np.pi / 16) / 2 * np.sqrt(1 / 8)
    block = np.rint(128 + 30 * np.broadcast_to(wave, (8, 8)))[..., None].astype(np.uint8)
    before = dctn(block[..., 0] - 128.0, norm="ortho")
    after = dctn(nearest_consistent(block, file)[..., 0] - 128.0, norm="ortho")
    assert before[0, 1] == pytest.approx(30, abs=2)
    assert after[0, 1] == pytest.approx(9, abs=0.9)
    assert np.abs(after - before).reshape(-1)[2:].max() < 1.5, "rounding to whole levels only"


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    quality=st.integers(2, 70),
    subsampling=st.sampled_from(SUBSAMPLINGS),
)
def test_anything_becomes_consistent_and_then_stays(seed, rows, columns, quality, subsampling):
    height, width = 16 * rows, 16 * columns
    file = jpeg_coefficients(jpeg(picture(height, width, seed), quality=quality, subsampling=subsampling))
    anything = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert share_consistent(anything, file) < 0.995, "control"
    found = nearest_consistent(anything, file)
    assert share_consistent(found, file) > 0.997
    again = nearest_consistent(found, file).astype(int)
    assert np.abs(again - found).mean() < 0.1, "only coefficients within CLOSE of an edge may still move"


def test_the_clean_image_stays_as_it_is():
    clean = picture(64, 64)
    for quality in (10, 40):
        data = jpeg(clean, quality=quality, subsampling="4:2:0")
        assert identical(clean, data, "4:2:0") == 1
        found = nearest_consistent(clean, jpeg_coefficients(data))
        assert np.mean(found != clean) < 0.2
        assert np.abs(found.astype(int) - clean).max() <= 2


def test_it_is_nearer_than_the_jpeg_itself():
    """The JPEG file's own pixels are consistent, too; the nearest consistent image keeps much more of the start."""
    clean = picture(64, 64)
    data = jpeg(clean, quality=10, subsampling="4:4:4")
    start = np.clip(clean.astype(int) + np.random.default_rng(1).integers(-12, 13, clean.shape), 0, 255)
    found = nearest_consistent(start.astype(np.uint8), jpeg_coefficients(data)).astype(int)
    decoded = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.square(found - start).mean() < np.square(decoded - start).mean() / 4


@pytest.mark.parametrize("value", [0, 128])
def test_what_other_encoders_put_outside_of_the_image_is_not_forced_upon_its_edge(value):
    """A file of whole blocks whose header is changed to a smaller size, as lossless cropping does."""
    clean = picture(64, 64)
    clean[:, 56:] = clean[56:] = value
    data = bytearray(jpeg(clean, quality=50, subsampling="4:2:0"))
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = (58).to_bytes(2, "big") + (58).to_bytes(2, "big")
    cropped = clean[:58, :58].copy()
    found = nearest_consistent(cropped, jpeg_coefficients(bytes(data)))
    assert np.abs(found.astype(int) - cropped).mean() < 1
    like_libjpeg = jpeg(cropped, quality=50, subsampling="4:2:0")
    found = nearest_consistent(blurred(cropped), jpeg_coefficients(like_libjpeg))
    assert identical(found, like_libjpeg, "4:2:0") >= 0.999, "control: libjpeg's own files are still met"


def test_the_share_is_that_of_a_real_encoder():
    clean = picture(45, 59)
    for quality, subsampling in ((10, "4:2:0"), (60, "4:4:4"), (90, "4:2:2")):
        data = jpeg(clean, quality=quality, subsampling=subsampling)
        start = blurred(clean)
        expected = identical(start, data, subsampling)
        assert share_consistent(start, jpeg_coefficients(data)) == pytest.approx(expected, abs=5e-3)
        assert expected < 0.995


def test_another_image_is_refused():
    file = jpeg_coefficients(jpeg(picture(16, 24)))
    for wrong in (picture(24, 16), picture(16, 24, channels=1), picture(16, 24).astype(np.uint16)):
        with pytest.raises(DataError, match=r"holds uint8 \[16, 24, 3\], the image is uint"):
            nearest_consistent(wrong, file)
