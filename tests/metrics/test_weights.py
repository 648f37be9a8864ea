"""Weights that are found or fetched: from the folder named, else once from where they are published, and checked."""

import hashlib

import pytest
import torch

from ucdir.errors import WeightsError
from ucdir.metrics.inception import INCEPTION
from ucdir.metrics.lpips import ALEXNET
from ucdir.metrics.niqe import STATISTICS
from ucdir.metrics.weights import WEIGHTS_VARIABLE, Download

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def published(tmp_path, monkeypatch, real_download):
    """A function: a file published on this machine, whose hash is said to begin so."""
    monkeypatch.setattr(torch.hub, "download_url_to_file", real_download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    (tmp_path / "site").mkdir()
    file = tmp_path / "site" / "net.pth"
    file.write_bytes(CONTENT)

    def publish(sha256=SHA256):
        return Download(file.as_uri(), ("small.pth", "net.pth"), sha256, "METRIC")

    return publish


def test_it_is_fetched_once(published, tmp_path):
    found = published().locate()
    assert found == tmp_path / "hub" / "checkpoints" / "net.pth"
    assert found.read_bytes() == CONTENT
    (tmp_path / "site" / "net.pth").unlink()
    assert published().locate() == found


def test_what_comes_with_another_hash_is_not_kept(published, tmp_path):
    with pytest.raises(WeightsError, match=r"METRIC needs net\.pth.*could not be fetched.*invalid hash"):
        published("00000000").locate()
    assert not any(p.is_file() for p in (tmp_path / "hub").rglob("*"))


def test_without_a_network_it_says_what_to_do(published, tmp_path):
    (tmp_path / "site" / "net.pth").unlink()
    with pytest.raises(WeightsError, match=r"download file://.*net\.pth into a folder.*UCDIR_WEIGHTS"):
        published().locate()


def test_nothing_is_fetched_where_a_folder_is_named(published, tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsError, match=r"no small\.pth or net\.pth is here, which METRIC needs"):
        published().locate()
    (tmp_path / "small.pth").write_bytes(b"")
    assert published().locate() == tmp_path / "small.pth"
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("download", [ALEXNET, STATISTICS, INCEPTION])
def test_every_download_is_checked(download):
    assert download.url.startswith("https://")
    assert len(download.sha256) >= 8
    assert download.published_name in download.names


def test_the_hash_of_the_statistics_is_that_of_the_file(test_data):
    content = (test_data / "weights" / STATISTICS.published_name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == STATISTICS.sha256
