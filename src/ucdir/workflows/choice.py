"""Which task a photo is for: the one that what is told belongs to, or what `inspection` finds to be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ucdir.images import Photo
from ucdir.inspection import CLEARLY_LOWER, Inspection, inspect
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import DIALS

LOW_LIGHT = "low_light"


@dataclass(frozen=True)
class Choice:
    """What is to be done with a photo.

    Args:
        task: a name in `TASKS`; None if nothing is wrong with it.
        reason: for it, in a few words.
        scalars: what was found of the degradation, beside what the file says and what was told.
        found: what was found, if it was looked for.
    """

    task: str | None
    reason: str
    scalars: Mapping[str, float] = field(default_factory=dict)
    found: Inspection | None = None


def told_task(scalars: Mapping[str, object]) -> str | None:
    """The only task that takes all of these scalars; None if there is none or several: only one has a jpeg_quality."""
    told = {scalar for scalar in scalars if scalar not in DIALS}
    fitting = [task for task, kind in TASKS.items() if told <= set(kind.scalars)]
    return fitting[0] if told and len(fitting) == 1 else None


def choose_task(
    photo: Photo, scalars: Mapping[str, object], *, consistent: bool = False, found: Inspection | None = None
) -> Choice:
    """What is to be done with a photo where no task is named.

    The names of the scalars come first. A RAW file, and what is to be brightened, is of low light.

    Args:
        photo: as read, perhaps to be brightened.
        scalars: what the user knows of the degradation.
        consistent: whether the result is to be consistent with a JPEG file, which is for JPEG restoration.
        found: what was found, if it was looked for already.
    """
    task = told_task(scalars)
    if task is not None:
        told = ", ".join(scalar for scalar in scalars if scalar not in DIALS)
        return Choice(task, f"{told.replace('_', ' ')} given")
    if consistent:
        return Choice("jpeg_restoration", "to be consistent with the JPEG file")
    if photo.exposure is not None:
        return Choice(LOW_LIGHT, "a RAW file" if photo.format == "RAW" else "to be brightened")
    found = found or inspect(photo)
    return Choice(found.task, found.reason, found.scalars, found)


def with_jpeg_quality(photo: Photo, name: str, found: Inspection | None = None) -> Photo:
    """A photo with the quality that its pixels show, where its file shows none or a clearly higher one.

    Such is a PNG made of a JPEG, or a JPEG saved again. Told as a warning.
    """
    if photo.exposure is not None:
        return photo
    jpeg, own = (found or inspect(photo)).jpeg, photo.jpeg_quality
    if jpeg.quality is None or (own is not None and jpeg.quality > own - CLEARLY_LOWER):
        return photo
    file = "" if own is None else f"; the file itself is of quality {own}"
    note = f"{name}: its pixels were once compressed as JPEG of a quality of about {jpeg.quality}{file}."
    return replace(photo, jpeg_quality=jpeg.quality, warnings=(*photo.warnings, note))


def left_alone(name: str, reason: str) -> str:
    """The sentence about a photo that nothing is wrong with."""
    return (
        f"{name}: nothing is wrong with it ({reason}), so it is left alone; to restore it all the same, choose a task "
        f"with --task ({', '.join(TASKS)})."
    )
