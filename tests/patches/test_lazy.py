"""An image computed part by part is, to the bit, the one computed whole."""

import numpy as np
import pytest
from random_images import image_of

from ucdir.errors import ConfigError
from ucdir.patches import LazyPlanes, LazyRunner, LazySource, TileRunner
from ucdir.patches.lazy import RollingRows


def lazy(image):
    return LazySource(image.shape, lambda rows, columns: image[..., rows, columns].copy())


def test_arithmetic_is_that_of_arrays():
    a, b = image_of(9, 11), image_of(9, 11)[..., ::-1].copy()
    x, y = lazy(a), lazy(b)
    shared = 0.3 * x - y / 7.0
    result = shared * shared + x
    result += 2.0
    whole = 0.3 * a - b / 7.0
    whole = whole * whole + a + 2.0
    part = (..., slice(2, 7), slice(3, 11))
    assert np.array_equal(result[part], whole[part])
    assert result[part].dtype == np.float32


def test_a_long_chain_of_shared_parts_is_computed_once_each():
    image, calls = image_of(4, 4), []

    def function(x):
        calls.append(1)
        return x * 0.5

    x = lazy(image)
    for _ in range(2000):  # more than Python's recursion allows, and 2^2000 ways
        x = LazyPlanes(image.shape, function, x) + x * 0.0
    assert np.isfinite(x[..., slice(0, 4), slice(0, 4)]).all()
    assert len(calls) == 2000


def test_rolling_rows_are_the_last_that_were_written(tmp_path):
    image, rolling = image_of(50, 6)[0], RollingRows(16, 3, 6, tmp_path)
    for top in range(0, 48, 8):
        rolling.write(top, 0, image[:, top : top + 8, :4])
        rolling.write(top, 4, image[:, top : top + 8, 4:])
        rows = slice(max(top - 8, 0), top + 8)
        assert np.array_equal(rolling.read(rows, slice(1, 5))[0], image[:, rows, 1:5])
    assert not np.array_equal(rolling.read(slice(24, 40), slice(0, 6))[0], image[:, 24:40]), "control"
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_too_many_passes_are_refused(random_pipeline, tmp_path):
    with pytest.raises(ConfigError, match="choose fewer steps"):
        LazyRunner(TileRunner(random_pipeline().engine), (1, 3, 20, 20), 300, tmp_path)
