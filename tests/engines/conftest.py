"""Fixtures for the tests of engines."""

import pytest

from ucdir.workflows.export import export


@pytest.fixture(scope="module")
def exported(model_folder, tmp_path_factory):
    """`model_folder` for ONNX Runtime; a test that changes it copies it."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    export(model_folder, folder)
    return folder
