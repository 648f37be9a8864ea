"""Where a batch writes: a file for each photo, no two the same, on no file system."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ucdir.errors import ConfigError, OutputError
from ucdir.images import WRITABLE_SUFFIXES, default_output
from ucdir.images.paths import RAW_SUFFIXES, READABLE_SUFFIXES, fitting_name, shown
from ucdir.images.write import DEEP_ZOOM
from ucdir.workflows.batch import Job
from ucdir.workflows.inputs import Input, Inputs
from ucdir.workflows.stores import is_folder, is_stored, is_url, place


def jobs_for(inputs: Inputs, output: str | None, format: str | None, seeds: Sequence[int]) -> list[Job]:
    """One job for each photo and seed; several seeds number the files: `photo.restored-1.png`, `photo.restored-2.png`.

    A photo that is also the result of another is left out, as in the second `ucdir restore *.jpg --format jpg`.

    Raises:
        OutputError: as `name_outputs`.
        ConfigError: as `name_outputs`.
    """
    outputs = name_outputs(inputs, output, format)
    results = {path.absolute(): n for n, path in enumerate(outputs)}
    jobs = []
    for n, (one, path) in enumerate(zip(inputs.photos, outputs, strict=True)):
        if results.get(one.photo.absolute(), n) != n:
            inputs.results += 1
            continue
        for number, seed in enumerate(seeds, start=1):
            numbered = path.with_name(fitting_name(path.stem, f"-{number}{path.suffix}"))
            jobs.append(Job(one.photo, path if len(seeds) == 1 else numbered, seed))
    return jobs


def name_outputs(
    inputs: Inputs, output: str | None, format: str | None = None, mark: str = ".restored"
) -> list[Path]:
    """A file for each photo: beside it, in a folder that mirrors where it was found, or the one named.

    Photos that would share a name keep their suffix (`a.jpg.restored.png`, `a.dng.restored.png`), and those that have
    one name in several folders get a number, in the order of their paths.

    Args:
        inputs: from `find_inputs`.
        output: a file for one photo; a folder for several, or with a slash at its end; None: beside each photo.
        format: a name or suffix, or "same" as the photo's; None: that of `output`, or PNG.
        mark: what is added to a photo's name.

    Raises:
        OutputError: one file is named for several photos.
        ConfigError: there is no such format, or `output` has another.
    """
    suffix = None if format is None else format_suffix(format)
    if output is not None and not _is_folder(output, several=inputs.several):
        return [_single(place(output), suffix, inputs)] if inputs.photos else []
    folder = None if output is None else place(output)
    usual = [
        default_output(one.photo, _folder(one, folder), _suffix_for(one.photo, suffix), mark)
        for one in inputs.photos
    ]
    count = Counter(map(_key, usual))
    taken = dict.fromkeys((key for key, number in count.items() if number == 1), 1)
    chosen = dict(enumerate(usual))
    clashing = [n for n, path in chosen.items() if count[_key(path)] > 1]
    # by their paths, not as they were named, so that another order gives the same names
    for n in sorted(clashing, key=lambda n: inputs.photos[n].photo):
        chosen[n] = _free(usual[n], inputs.photos[n].photo.name, mark, taken)
    return list(chosen.values())


def _key(path: Path) -> str:
    """The same for names that are one on a file system that ignores case or how accents are encoded."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _free(usual: Path, name: str, mark: str, taken: dict[str, int]) -> Path:
    ending = f"{mark}{usual.suffix}"
    path = first = usual.with_name(fitting_name(name, ending))
    while _key(path) in taken:  # as of x/a.jpg and y/a.jpg
        taken[_key(first)] += 1  # where to go on for the next of this name, or thousands would take forever
        path = usual.with_name(fitting_name(name, f"-{taken[_key(first)]}{ending}"))
    taken[_key(path)] = 1
    return path


def _folder(one: Input, folder: Path | None) -> Path | None:
    return folder if folder is None or one.below is None else folder.joinpath(*one.below.parent.parts)


def format_suffix(format: str) -> str:
    """The suffix of a format by its name, or ".same".

    Raises:
        ConfigError: there is no such format.
    """
    suffix = f".{format.lower().removeprefix('.')}"
    if suffix not in (".same", *WRITABLE_SUFFIXES):
        names = ", ".join(known.removeprefix(".") for known in WRITABLE_SUFFIXES)
        raise ConfigError(f"--format {format!r:.40} is unknown; choose same, {names}.")
    return suffix


def _suffix_for(photo: Path, suffix: str | None) -> str:
    if suffix == ".same":
        return photo.suffix if photo.suffix.lower() in WRITABLE_SUFFIXES else ".png"
    return suffix or ".png"


def _is_folder(output: str, *, several: bool) -> bool:
    """Whether `output` is a folder, or is to be made one.

    Raises:
        OutputError: it is neither, and there are several photos.
    """
    if os.path.isdir(output) or output.endswith(os.sep):  # noqa: PTH112 (never an error)
        return True
    if is_url(output) and not several and is_folder(place(output)):
        return True
    suffixes = {DEEP_ZOOM, *WRITABLE_SUFFIXES, *READABLE_SUFFIXES, *RAW_SUFFIXES}
    if several and (os.path.lexists(output) or Path(output).suffix.lower() in suffixes):
        raise OutputError(
            f"{shown(Path(output))} is one file, and several photos were asked for; name a folder for them."
        )
    return several


def _single(path: Path, suffix: str | None, inputs: Inputs) -> Path:
    if not path.suffix:
        raise OutputError(
            f"{shown(path)} has no suffix to choose the format by, and is no folder yet; write {shown(path)}.png, or "
            f"{shown(path)}{os.sep} for a new folder."
        )
    if path.suffix.lower() not in (*WRITABLE_SUFFIXES, DEEP_ZOOM):
        raise OutputError(
            f"{shown(path)} has the unknown suffix {path.suffix!r}; choose one of {', '.join(WRITABLE_SUFFIXES)}."
        )
    if is_stored(path) and path.suffix.lower() == DEEP_ZOOM:
        raise OutputError(
            f"{shown(path)}: a DeepZoom folder is written to disks only; name a file there, or choose .tif."
        )
    if not is_stored(path) and not os.path.isdir(path.parent):  # noqa: PTH112
        raise OutputError(f"{shown(path.parent)} is no folder; make that folder first or choose another.")
    if suffix is not None and path.suffix.lower() != _suffix_for(inputs.photos[0].photo, suffix).lower():
        raise ConfigError(
            f"{shown(path)}: --format says another format than its suffix; leave one of them out."
        )
    return path
