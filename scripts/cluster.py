"""The long version of tests/workflows/test_cluster.py: a Ray cluster, an object store, and a node that is killed.

    python scripts/cluster.py [PHOTO …] [--copies 4] [--nodes 3] [--kill 0.3] [--s3] [OPTIONS OF restore, --engine=onnx]

Starts a cluster of nodes of one core each on this machine, restores copies of the photos on it with `ucdir restore
--ray`, and kills one of the nodes when the share --kill of the results is there. With --s3 photos and results lie in
an S3 server of moto's (`pip install 'moto[server]' s3fs`; MOTO_PATH names the folder of packages if it is installed
apart), else on this disk. Then the same command runs again, which must find everything finished, and a local batch
restores the photos once more. Prints the throughput that the command prints, that of the local batch, and whether the
results are equal; ends with status 1 if any is missing or differs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_worker_niceness", "0")  # beside other programs, as on machines of one's own
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

BUCKET = "photos"
PORT = 5117


def restore(photos: str, output: str, options: list[str]) -> tuple[int, str, float]:
    """Exit status, what is printed on stderr, and seconds of `ucdir restore`."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "ucdir.cli", "restore", photos, "-o", output, *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode, done.stdout, time.perf_counter() - began


def start_store() -> tuple[subprocess.Popen[bytes], Any]:
    """moto's server, and its file system."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
    }
    environment = {**os.environ, "PYTHONPATH": os.environ.get("MOTO_PATH", os.environ.get("PYTHONPATH", ""))}
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(PORT)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    import s3fs

    store = s3fs.S3FileSystem(use_listings_cache=False)
    for _ in range(100):
        try:
            store.mkdir(BUCKET)
            break
        except Exception:  # noqa: BLE001
            time.sleep(0.5)
    return server, store


def kill_when(cluster: Any, node: Any, found: Any, enough: int) -> None:
    """Kill a node as soon as there are enough results."""
    while found() < enough:
        time.sleep(0.2)
    print(f"killed a node when {found()} results were there", flush=True)
    cluster.remove_node(node, allow_graceful=False)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="*", default=sorted(Path("examples").glob("*.jpg")))
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--kill", type=float, default=0.3)
    parser.add_argument("--s3", action="store_true")
    arguments, options = parser.parse_known_args()  # what is unknown here is passed on to ucdir restore
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for number in range(arguments.copies):
            for photo in arguments.photos:
                shutil.copy(photo, folder / "in" / f"{photo.stem}-{number}{photo.suffix}")
        count = arguments.copies * len(arguments.photos)
        server, photos, output = None, str(folder / "in"), str(folder / "out")
        if arguments.s3:
            server, store = start_store()
            store.put(photos, f"{BUCKET}/in", recursive=True)
            photos, output = f"s3://{BUCKET}/in", f"s3://{BUCKET}/out"

        def results() -> list[str]:
            found = store.find(f"{BUCKET}/out") if arguments.s3 else map(str, (folder / "out").rglob("*"))
            return sorted(path for path in found if path.endswith(".restored.png"))

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            others = [cluster.add_node(num_cpus=1) for _ in range(arguments.nodes - 1)]
            if others and arguments.kill < 1:
                enough = max(1, round(arguments.kill * count))
                killer = threading.Thread(
                    target=kill_when, args=(cluster, others[0], lambda: len(results()), enough), daemon=True
                )
                killer.start()
            ray = ["--ray", cluster.address]
            status, _, seconds = restore(photos, output, [*ray, *options])
            print(
                f"on the cluster: status {status}, {len(results())} of {count} results, {seconds:.1f} s start to exit"
            )
            _, out, seconds = restore(photos, output, [*ray, *options])
            print(f"once more: {out.count('finished already')} finished already, {seconds:.1f} s")
            _, _, seconds = restore(str(folder / "in"), str(folder / "local"), ["--json", *options])
            print(f"one process on this machine: {seconds:.1f} s")
            if arguments.s3:
                store.get(f"{BUCKET}/out", str(folder / "out"), recursive=True)
            local = sorted((folder / "local").rglob("*.png"))
            equal = [(folder / "out" / file.name).read_bytes() == file.read_bytes() for file in local]
            print(f"equal to those of one process: {sum(equal)} of {count}")
            return 0 if status == 0 and len(equal) == count and all(equal) else 1
        finally:
            cluster.shutdown()
            if server is not None:
                server.terminate()


if __name__ == "__main__":
    raise SystemExit(main())
