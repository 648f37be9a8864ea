"""What the OpenAPI description says is so: schemathesis asks the server what it allows, and what it does not."""

import importlib.util
import json
import re

import pytest

pytest.importorskip("schemathesis", reason="is installed with the extra dev")


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location("api_properties", root / "scripts" / "api_properties.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server(start, script):
    return start(constants=script.QUICK)


def test_the_server_keeps_to_its_description(script, server, tmp_path):
    options = ("--phases", "fuzzing", "--max-examples", "12", "--seed", "1", "--no-shrink")
    done = script.check(f"http://127.0.0.1:{server.port}/openapi.json", tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) generated, \1 passed", done.stdout)[1]) > 30
    for status in (200, 422):  # the control: both good and bad requests were made
        line = f'ucdir_requests_total{{path="/v1/restore",method="POST",status="{status}"}}'
        assert server.metric(line) > 1
    server.wait_for("ucdir_jobs", 0)
    assert (server.uploads, server.stderr) == ([], "")


def test_control_a_wrong_description_is_found(script, server, tmp_path):
    wrong = json.loads(server.get("/openapi.json")[2])
    wrong["components"]["schemas"]["Models"]["properties"]["version"] = {"type": "integer"}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    options = ("--url", f"http://127.0.0.1:{server.port}", "--phases", "fuzzing", "--max-examples", "1")
    done = script.check(str(tmp_path / "wrong.json"), tmp_path, *options, "--include-operation-id", "models")
    assert done.returncode == 1
    assert "Response violates schema" in done.stdout
