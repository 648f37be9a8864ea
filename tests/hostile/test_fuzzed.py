"""What coverage-guided fuzzing found its way with: each input is read, or refused in one sentence.

`scripts/fuzz_coverage.py` looks for more; inputs that were faults have a name in the archives of `tests/data/fuzz`.
"""

import zipfile

import pytest
from fuzz_targets import checkpoints, reading


def inputs(test_data, name):
    with zipfile.ZipFile(test_data / "fuzz" / f"{name}.zip") as archive:
        return {entry: archive.read(entry) for entry in archive.namelist()}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_reading(test_data):
    found = {name: reading(data) for name, data in inputs(test_data, "reading").items()}
    assert len(found) > 100
    assert set(found.values()) == {"read", "refused"}
    assert found["raw_of_filters_4"] == "refused"


def test_checkpoints(test_data, tmp_path):
    found = {
        name: checkpoints(data, tmp_path / "file") for name, data in inputs(test_data, "checkpoints").items()
    }
    assert len(found) > 50
    assert set(found.values()) == {"read", "refused"}
