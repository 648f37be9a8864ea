"""The opposite of restoring: degrade a clean photo as training does, to try a restoration on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from ucdir.data.photos import rgb8
from ucdir.images import Metadata, Photo, check_writable, write
from ucdir.images.atomic import atomic_write
from ucdir.tasks import JpegRestoration, task_of_strength

JPEG_SUFFIXES = (".jpg", ".jpeg")
_MARK: Final = "degraded by ucdir: "


def degrade(
    photo: str | Path,
    output: str | Path,
    *,
    task: str,
    strength: float | None = None,
    seed: int = 0,
    force: bool = False,
) -> dict[str, float]:
    """Degrade a photo.

    Args:
        photo: a file that `images.read` reads; 16 bits become 8, transparency and metadata are left out.
        output: the file to write, with a comment that says what was done, if its format holds one. For JPEG restoration
            a JPEG file is the degradation itself, not compressed twice.
        task: a name in `tasks.TASKS`.
        strength: in the unit of the task's `strength`; sampled like everything else by default.
        seed: the same seed gives the same degradation.
        force: overwrite an existing output.

    Returns:
        the auxiliary scalars of the degradation, by name.

    Raises:
        ConfigError: there is no such task, or the strength is out of range.
        ImageError: the photo cannot be read.
        OutputError: the output cannot be written.
    """
    source, target = Path(photo), Path(output)
    kind = task_of_strength(task, strength)
    check_writable(target, force=force)
    pixels = rgb8(source)
    rng = np.random.default_rng(seed)
    if isinstance(kind, JpegRestoration) and target.suffix.lower() in JPEG_SUFFIXES:
        compression = kind.generator.draw(rng)
        atomic_write([compression.encode(pixels)], target, force=force)
        return {"jpeg_quality": float(compression.quality)}
    example = kind.degrade(pixels, rng)
    said = Metadata(texts=(_record(task, example.scalars),))
    write(Photo(example.degraded, metadata=said), target, force=force)
    return dict(example.scalars)


def _record(task: str, scalars: Mapping[str, float]) -> tuple[str, str]:
    """The comment that says what was done."""
    values = "".join(f", {name} {value:g}" for name, value in scalars.items())
    return "Comment", f"{_MARK}{task}{values}"
