"""Coverage-guided fuzzing of what reads files that need not be trusted, with atheris.

    pip install atheris        # not in the extra `dev`: it has wheels for Linux and some Pythons only
    python scripts/fuzz_coverage.py reading     CORPUS tests/data/hostile -max_total_time=1500
    python scripts/fuzz_coverage.py checkpoints CORPUS tests/data/hostile -max_total_time=1500
    python scripts/fuzz_coverage.py reading     tests/data/fuzz/reading -runs=0     # what was found, once more

CORPUS is a folder for what it finds; other arguments are libFuzzer's, to which -timeout=120, -rss_limit_mb=3000 and
-max_len=65536 are added. Only the Python code of this package is measured, not the decoders. An exception that is none
of ours, and more than 5 s of a processor, end it; the input is written to a file crash-….
"""

from __future__ import annotations

import contextlib
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

with atheris.instrument_imports(include=["ucdir"]):
    from ucdir.config.pipeline import PipelineConfig
    from ucdir.config.sections import DiffusionModelConfig, PredictorConfig
    from ucdir.errors import ImageError, OutputError, UcdirError
    from ucdir.images import encode_photo, read
    from ucdir.model import folder as model_folder
    from ucdir.pth_file import tensors_of

PLACE = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: PTH112, S108
SMALL_PIXELS = 4096
SLOW_SECONDS = 5.0
FORMATS = ("png", "jpg", "tif", "webp", "avif", "bmp")


def reading(data: bytes) -> None:
    """Read an image; write what is small in a format, with its metadata, and read that."""
    try:
        photo = read(data, coefficients=True)
    except ImageError as error:
        check_sentence(error)
        return
    if photo.pixels[..., 0].size > SMALL_PIXELS:
        return
    for format in FORMATS if len(data) < 1000 else FORMATS[:3]:
        with contextlib.suppress(OutputError):
            pieces, _ = encode_photo(photo, format)
            again = read(b"".join(pieces))
            if again.pixels.shape[:2] != photo.pixels.shape[:2]:
                raise AssertionError(f"{format}: {again.pixels.shape} of {photo.pixels.shape}")


def checkpoints(data: bytes) -> None:
    """Read a file as a checkpoint, as weights and as settings of a model folder."""
    file = PLACE / "file"
    file.write_bytes(data)
    readers: tuple[Callable[[], object], ...] = (
        lambda: [tensor.sum() for tensor in tensors_of(file).values()],
        lambda: model_folder.read_header(file),
        lambda: model_folder.read_network_config(file, PredictorConfig),
        lambda: model_folder.read_network_config(file, DiffusionModelConfig),
        lambda: model_folder.validated(PipelineConfig, model_folder.read_json(file), file),
        lambda: model_folder.validated(model_folder.SchedulerConfig, model_folder.read_json(file), file),
    )
    for reader in readers if data[:1] == b"{" else readers[:2]:
        try:
            reader()
        except UcdirError as error:
            check_sentence(error)


def check_sentence(error: UcdirError) -> None:
    """An error is one line that fits a screen."""
    if "\n" in str(error) or len(str(error)) > 8000:
        raise AssertionError(f"no sentence: {str(error)[:500]}") from error


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


def timed(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """A target that must not take long, however busy the machine is."""

    def run(data: bytes) -> None:
        start = time.process_time()
        target(data)
        if (seconds := time.process_time() - start) > SLOW_SECONDS:
            raise AssertionError(f"{seconds:.1f} s")

    return run


TARGETS = {"reading": timed(reading), "checkpoints": timed(checkpoints)}


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
