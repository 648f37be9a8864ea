"""What is fuzzed: any bytes must be read, or refused in one sentence; for the script that fuzzes and for a test."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from ucdir.config.pipeline import PipelineConfig
from ucdir.config.sections import DiffusionModelConfig, PredictorConfig
from ucdir.errors import ImageError, OutputError, UcdirError
from ucdir.images import encode_photo, read
from ucdir.model import folder as model_folder
from ucdir.pth_file import tensors_of

SMALL_PIXELS = 4096
FORMATS = ("png", "jpg", "tif", "webp", "avif", "bmp")


def reading(data: bytes) -> str:
    """Read an image; write what is small in a format, with its metadata, and read that."""
    try:
        photo = read(data, coefficients=True)
    except ImageError as error:
        check_sentence(error)
        return "refused"
    if photo.pixels[..., 0].size > SMALL_PIXELS:
        return "read"
    for format in FORMATS if len(data) < 1000 else FORMATS[:3]:
        with contextlib.suppress(OutputError):
            pieces, _ = encode_photo(photo, format)
            again = read(b"".join(pieces))
            if again.pixels.shape[:2] != photo.pixels.shape[:2]:
                raise AssertionError(f"{format}: {again.pixels.shape} of {photo.pixels.shape}")
    return "read"


def checkpoints(data: bytes, file: Path) -> str:
    """Read a file, which is written first, as a checkpoint, as weights and as settings of a model folder."""
    file.write_bytes(data)
    readers: tuple[Callable[[], object], ...] = (
        lambda: [tensor.sum() for tensor in tensors_of(file).values()],
        lambda: model_folder.read_header(file),
        lambda: model_folder.read_network_config(file, PredictorConfig),
        lambda: model_folder.read_network_config(file, DiffusionModelConfig),
        lambda: model_folder.validated(PipelineConfig, model_folder.read_json(file), file),
        lambda: model_folder.validated(model_folder.SchedulerConfig, model_folder.read_json(file), file),
    )
    outcome = "refused"
    for reader in readers if data[:1] == b"{" else readers[:2]:
        try:
            reader()
            outcome = "read"
        except UcdirError as error:
            check_sentence(error)
    return outcome


def check_sentence(error: UcdirError) -> None:
    """An error is one line that fits a screen."""
    if "\n" in str(error) or len(str(error)) > 8000:
        raise AssertionError(f"no sentence: {str(error)[:500]}") from error
