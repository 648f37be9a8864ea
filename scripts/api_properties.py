"""Property tests of `ucdir serve` from its own OpenAPI description, by schemathesis.

    python scripts/api_properties.py --max-examples 500

A server is started and asked what the description allows, and what it does not: each answer must have a status, type
and form that the description names, and none may be a fault of the server. Images are small photos, whole and damaged.
What further options mean, `st run --help` says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[1] / "tests" / "support"
CHECKS = (
    *(
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
    ),
    *(
        "response_schema_conformance",
        "negative_data_rejection",
        "unsupported_method",
        "allow_header_conformance",
    ),
    "ignored_auth",
)

QUICK = {"ucdir.server.app.SECONDS_TO_FIND_A_JOB": 0.2}
"""Or each progress that is asked for in vain takes 10 s."""


def check(description: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis on a running server.

    Args:
        description: its address or file.
        folder: for what schemathesis keeps.
        options: of `st run`.
    """
    hooks = {"SCHEMATHESIS_HOOKS": "api_images", "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    command = [
        *(
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            description,
            "--checks",
            ",".join(CHECKS),
        ),
        *("--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--no-color", *options),
    ]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **hooks}, capture_output=True, text=True, check=False
    )


def main() -> int:
    """Start a server and check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="onnx")
    known, options = parser.parse_known_args()
    sys.path.insert(0, str(SUPPORT))
    from http_server import Server

    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "server", "--engine", known.engine, constants=QUICK)
        try:
            done = check(f"http://127.0.0.1:{server.port}/openapi.json", Path(folder), *options)
            figures = [line for line in server.get("/metrics")[2].decode().splitlines() if "_total{" in line]
            left = server.uploads
        finally:
            status = server.stop()
        said = server.stderr
    print(done.stdout, done.stderr, *figures, sep="\n")
    print(f"exit status of the server {status}, left in its folder: {len(left)}\n{said}")
    return done.returncode or int(status != 143 or bool(left or said))


if __name__ == "__main__":
    sys.exit(main())
