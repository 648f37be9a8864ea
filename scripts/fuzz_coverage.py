"""Coverage-guided fuzzing of what reads files that need not be trusted, with atheris.

    pip install atheris        # not in the extra `dev`: it has wheels for Linux and some Pythons only
    python scripts/fuzz_coverage.py reading     CORPUS tests/data/hostile -max_total_time=1500
    python scripts/fuzz_coverage.py checkpoints CORPUS tests/data/hostile -max_total_time=1500

CORPUS is a folder for what it finds; other arguments are libFuzzer's, to which -timeout=120, -rss_limit_mb=3000 and
-max_len=65536 are added. Only the Python code of this package is measured, not the decoders. An exception that is none
of ours, and more than 5 s of a processor, end it; the input is written to a file crash-….
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
with atheris.instrument_imports(include=["ucdir"]):
    from fuzz_targets import checkpoints, reading

PLACE = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: PTH112, S108
SLOW_SECONDS = 5.0


def with_checksums(data: bytes, size: int, seed: int) -> bytes:
    """Mutate, and put right the checksums of a PNG file's chunks, which would stop the rest from being reached."""
    changed = bytearray(atheris.Mutate(data, size))
    at = 8 if changed.startswith(b"\x89PNG\r\n\x1a\n") else len(changed)
    while at + 12 <= len(changed):
        end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = zlib.crc32(changed[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed[:size])


def timed(target: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """A target that must not take long, however busy the machine is."""

    def run(data: bytes) -> None:
        start = time.process_time()
        target(data)
        if (seconds := time.process_time() - start) > SLOW_SECONDS:
            raise AssertionError(f"{seconds:.1f} s")

    return run


TARGETS = {"reading": timed(reading), "checkpoints": timed(lambda data: checkpoints(data, PLACE / "file"))}


def files_of(folder: Path, most_bytes: int = 65_536) -> Path:
    """A folder with the small files below another one, side by side, as libFuzzer wants them."""
    flat = Path(tempfile.mkdtemp())
    for number, file in enumerate(sorted(folder.rglob("*"))):
        if file.is_file() and file.stat().st_size <= most_bytes:
            (flat / f"{number}").write_bytes(file.read_bytes())
    return flat


def main() -> None:
    """Fuzz a target."""
    target, *arguments = sys.argv[1:]
    if target not in TARGETS:
        sys.exit(f"choose one of {', '.join(TARGETS)}")
    folders = [a for a in arguments if not a.startswith("-")]
    options = [a for a in arguments if a.startswith("-")]
    options = ["-timeout=120", "-rss_limit_mb=3000", "-max_len=65536", *options]
    folders = [*folders[:1], *(str(files_of(Path(name))) for name in folders[1:])]
    sys.stdout = io.StringIO()
    zipfile.ZipExtFile._update_crc = lambda *_: None  # type: ignore[attr-defined, method-assign] # it guesses no sums
    atheris.Setup([sys.argv[0], *options, *folders], TARGETS[target], custom_mutator=with_checksums)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
