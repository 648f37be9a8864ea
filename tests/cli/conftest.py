"""The command line, called in this process with a small random model."""

import sys

import numpy as np
import pytest

from ucdir import cli
from ucdir.degradations import JpegCompression


@pytest.fixture
def ucdir(model_folder, monkeypatch, capfd):
    """A function: arguments of `ucdir` -> (exit status, stdout, stderr); restores with a small random model."""

    def call(*arguments, model=True):
        words = [str(a) for a in arguments]
        if words[0] == "restore" and model and "--model" not in words:
            words += ["--model", str(model_folder)]
        monkeypatch.setattr(sys, "argv", ["ucdir", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        return stop.value.code or 0, out, err

    return call


@pytest.fixture(scope="session")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path, pixels):
    path = tmp_path / "photo.jpg"
    path.write_bytes(JpegCompression(20).encode(pixels))
    return path


@pytest.fixture(scope="session")
def refused():
    """A function that checks a result: exit status 2, nothing on stdout, one sentence on stderr, and words in it."""

    def check(result, *words):
        status, out, err = result
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1, err
        assert err.startswith("ucdir: ")
        assert err.rstrip().endswith(".")
        for word in words:
            assert str(word) in err

    return check
