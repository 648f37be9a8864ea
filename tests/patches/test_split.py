"""Where patches lie: every pixel is kept once, with its surroundings."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ucdir.patches.split import Patch, intervals, mirrored, round_up, smallest_patch, split


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    patch=st.integers(3, 20),
    reach=st.integers(1, 9),
    multiple=st.sampled_from([1, 2, 4, 8]),
)
@settings(deadline=None, max_examples=150)
def test_every_pixel_is_kept_once_and_has_its_surroundings(height, width, patch, reach, multiple):
    height, width = round_up(height, multiple), round_up(width, multiple)
    overlap = round_up(reach, multiple)
    kept = np.zeros((height, width), int)
    side = max(patch * multiple, smallest_patch(reach, multiple))
    for p in split(height, width, side, overlap, multiple):
        kept[p.kept_rows, p.kept_columns] += 1
        for read, inner, length in ((p.rows, p.kept_rows, height), (p.columns, p.kept_columns, width)):
            assert read.start % multiple == 0
            assert read.stop - read.start <= side
            assert read.start == max(inner.start - overlap, 0)
            assert read.stop == min(inner.stop + overlap, length)
    assert (kept == 1).all()


def test_shares_are_equal_and_not_a_rest():
    cut = [kept.stop - kept.start for _, kept in intervals(1000, 400, 80, 8)]
    assert cut == [200, 200, 200, 200, 200]


def test_a_mirror_goes_on_however_far():
    assert mirrored(slice(0, 10), 4).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert mirrored(slice(3, 6), 1).tolist() == [0, 0, 0]


def test_a_patch_reads_beyond_the_image_and_writes_only_into_it():
    image = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    patch = Patch(slice(0, 8), slice(0, 8), slice(0, 8), slice(0, 8))
    read = patch.read(image)
    assert read[0, 0, :, 0].tolist() == [0, 4, 8, 4, 0, 4, 8, 4]
    assert read[0, 0, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1]
    into = np.zeros_like(image)
    patch.write(read + 1, into)
    assert np.array_equal(into, image + 1)


def test_only_what_is_kept_is_written():
    into = np.zeros((1, 1, 6, 6), np.float32)
    Patch(slice(0, 6), slice(2, 6), slice(2, 4), slice(4, 6)).write(np.ones((1, 1, 6, 4), np.float32), into)
    assert into.sum() == 4
    assert (into[0, 0, 2:4, 4:6] == 1).all()
