"""`ucdir restore --ray` on a cluster of several nodes of one core each, which are processes of this machine."""

import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ucdir
from ucdir.degradations import JpegCompression
from ucdir.errors import ConfigError, DeviceError
from ucdir.workflows import cluster as workflow
from ucdir.workflows.batch import Batch, Job
from ucdir.workflows.cluster import run_on_cluster

pytest.importorskip("ray", reason="ray is not installed: pip install 'ucdir[cluster]'")
pytest.importorskip("ray.data", reason="what ray.data needs is not installed: pip install 'ucdir[cluster]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # of ray itself

SOURCE = str(Path(ucdir.__file__).parents[1])
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")]),
    "RAY_worker_niceness": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield nodes
        nodes.shutdown()


@pytest.fixture
def jobs(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(7):
        pixels = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        (tmp_path / "in" / f"{number}.jpg").write_bytes(JpegCompression(20).encode(pixels))
    (tmp_path / "in" / "bad.jpg").write_bytes(b"junk")
    return [
        Job(file, tmp_path / "out" / f"{file.stem}.png", seed=1)
        for file in sorted((tmp_path / "in").iterdir())
    ]


@pytest.fixture
def batch(model_folder):
    return Batch("auto", str(model_folder), engine="onnx", precision="fp32")


def node_with(cluster, folder, name, text):
    """A further node that finds a module of ours before the true one of its name."""
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text(text)
    path = os.pathsep.join([str(folder), ENVIRONMENT["PYTHONPATH"]])
    return cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": path})


def test_a_node_that_dies_in_the_middle_loses_nothing(cluster, jobs, batch, tmp_path):
    """Its worker stops in the middle of the first photo, when it imports the engine."""
    begun = tmp_path / "begun"
    hangs = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(600)\n"
    node = node_with(cluster, tmp_path / "modules", "onnxruntime.py", hangs)

    def kill():
        end = time.monotonic() + 200
        while not (begun.exists() and any((tmp_path / "out").glob("*.png"))) and time.monotonic() < end:
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = []
    found = run_on_cluster(batch, jobs, outcomes.append, cluster.address)
    killer.join()
    assert begun.exists()
    assert sorted(outcome.job for outcome in outcomes) == jobs, "each is reported once"
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    assert [outcome.job.photo.name for outcome in failed] == ["bad.jpg"]
    assert "is not an image" in failed[0].error
    assert (found.photos, found.workers) == (7, 2)
    assert found.lost > 0, "what the node had begun was done again"

    local = [job._replace(output=tmp_path / "local" / job.output.name) for job in jobs]
    batch.run(local, lambda _: None)
    whole = [job.output for job in jobs if job.photo.name != "bad.jpg"]
    assert [path.read_bytes() for path in whole] == [
        (tmp_path / "local" / path.name).read_bytes() for path in whole
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".ucdir.jsonl", *(path.name for path in whole),
    }  # fmt: skip
    again = []
    batch.run(jobs, again.append)
    assert sorted(outcome.status for outcome in again) == ["failed", *["finished"] * 7]


def test_a_node_without_the_package_is_named_before_the_work(cluster, jobs, batch, tmp_path):
    node = node_with(cluster, tmp_path / "modules", "ucdir/__init__.py", "raise ImportError('no ucdir')\n")
    try:
        with pytest.raises(
            DeviceError, match=r"^node .*: the package ucdir is missing there \(no ucdir\); run: pip"
        ):
            run_on_cluster(batch, jobs, lambda _: None, cluster.address)
    finally:
        cluster.remove_node(node)
    assert not (tmp_path / "out").exists()


def test_nodes_without_memory_for_a_worker_are_not_waited_for(cluster, jobs, batch, tmp_path):
    large = replace(batch, options={"max_memory": "100TB"})
    with pytest.raises(
        DeviceError, match=r"^no node of the cluster has a core and .* of memory for a worker; set"
    ):
        run_on_cluster(large, jobs, lambda _: None, cluster.address)
    assert not (tmp_path / "out").exists()


def test_what_nodes_are_looked_at_for(model_folder, tmp_path):
    """Run here, where everything is there, with one thing after the other missing."""
    engine = ("cpu", "fp32", "onnx")
    digest = workflow.model_digest(model_folder)
    model = (str(model_folder), digest)
    look = workflow._looker()
    whole = ucdir.__version__, model, [], str(model_folder), str(tmp_path / "new" / "folder"), engine
    assert look(*whole) == ("", "onnx")
    for number, value, words in (
        (0, "0.0.9", "it has ucdir "),
        (1, (str(tmp_path / "nowhere"), digest), "nowhere"),
        (1, (str(model_folder), "0" * 64), "is another one than here"),
        (2, ["nope://bucket/a.jpg"], "this kind of store is not known"),
        (3, str(tmp_path / "a.jpg"), "it does not see "),
        (5, ("cuda:0", "fp32", "onnx"), "the engine onnx is for CPUs"),
    ):
        assert words in look(*whole[:number], value, *whole[number + 1 :])[0]


def test_clusters_that_cannot_be_reached(jobs, batch):
    with socket.socket() as free, socket.create_server(("127.0.0.1", 0)) as server:
        free.bind(("127.0.0.1", 0))
        nothing, other = (f"127.0.0.1:{one.getsockname()[1]}" for one in (free, server))

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        for address, kind, words in (
            (nothing, DeviceError, f"--ray {nothing}: the cluster cannot be reached .*; check the address"),
            (
                other,
                DeviceError,
                f"--ray {other}: the cluster cannot be reached .what listens there is not Ray",
            ),
            ("somewhere", ConfigError, "--ray somewhere: is no address; write HOST:PORT, auto or local"),
            ("http://a:1", ConfigError, "is no address"),
        ):
            with pytest.raises(kind, match=words):
                run_on_cluster(batch, jobs, lambda _: None, address)
    assert not jobs[0].output.parent.exists()
