"""`benchmarks/qualities.py`: its means and what it keeps."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from ucdir.errors import OutputError

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "qualities.py"))


def figures(*niqe):
    """Figures of an image whose rows have these values of NIQE, without patches."""
    features = {f"{name} features": np.zeros((0, 256), np.float32) for name in (*SCRIPT["ROWS"], "clean")}
    rows = zip(SCRIPT["ROWS"], niqe, strict=True)
    return features | {row: np.array([0.5, 30, 0.9, value], np.float32) for row, value in rows}


def niqe_of(found):
    return [line.split(" | ")[5].rstrip(" !|") for line in SCRIPT["table"](10, found)]


def test_means_are_of_images_that_every_row_has_a_value_of():
    assert niqe_of([figures(6, 5, 4), figures(8, 7, 6)]) == ["7.00", "6.00", "5.00"], "the control"
    assert niqe_of([figures(6, 5, 4), figures(8, np.nan, 6)]) == ["6.00", "5.00", "4.00"]
    assert niqe_of([figures(np.nan, 5, 4)]) == ["nan"] * 3


def test_figures_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    SCRIPT["store"](tmp_path / "a.npz", figures(6, 5, 4))
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["JPEG"][3] == 6

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError):
        SCRIPT["store"](tmp_path / "b.npz", figures(6, 5, 4))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
