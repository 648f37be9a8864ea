"""A server with a small random model, one for each file of tests."""

import pytest
from http_server import Server

pytest.importorskip("starlette", reason="needs the extra serve")


@pytest.fixture(scope="module")
def start(tmp_path_factory, model_folder):
    """A function that starts a server with these options; all are ended after the file's tests."""
    servers = []

    def begin(*options, folder=None, engine="onnx", **more):  # which starts in a third of the time
        folder = folder or tmp_path_factory.mktemp("server")
        servers.append(Server(folder, "--model", model_folder, "--engine", engine, *options, **more))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(start):
    return start(engine="torch")
