"""The way of an evaluation: each picture, each method, each metric; then the table, the sheet and the plot."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ucdir.data.photos import check_outside
from ucdir.errors import DataError, ImageError
from ucdir.evaluation.cases import Case, Cases, Pixels
from ucdir.evaluation.measure import (
    DEFAULT,
    EACH,
    TOGETHER,
    check_metrics,
    distance,
    features_of,
    measure,
    published_name,
)
from ucdir.evaluation.methods import Finished, Method
from ucdir.evaluation.sheet import Strip, contact_sheet
from ucdir.evaluation.store import Store, folder_name, from_number, key_of, number
from ucdir.evaluation.table import Row, row_of
from ucdir.images import Photo, write

logger = logging.getLogger(__name__)

SHEET_PICTURES = 6
"""Most pictures on the contact sheet."""


@dataclass(frozen=True)
class Settings:
    """What is measured, of which methods, by which metrics."""

    cases: Cases
    methods: Sequence[Method]
    output: Path
    """Folder for restored pictures, their values, table, sheet and plot; an evaluation goes on where it stopped."""
    metrics: Sequence[str] = DEFAULT
    keep_going: bool = False
    """Whether a picture that cannot be measured is named and left out, or ends the evaluation."""
    on_picture: Callable[[int, int], None] | None = None
    """Told of the progress: (pictures done, pictures in all)."""


@dataclass
class Result:
    """What came out: rows of the table, the values of each picture by method and name, and what was left out."""

    rows: list[Row] = field(default_factory=list)
    images: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def evaluate(settings: Settings) -> Result:
    """Measure every method on every picture.

    Raises:
        ConfigError: a metric is unknown, or the output lies among the pictures.
        WeightsError: weights of a metric are missing.
        DataError, ImageError: a picture cannot be measured (without `keep_going`), or none can.
        OutputError: the output cannot be written.
    """
    check_metrics(settings.metrics)
    _check_methods(settings.methods)
    read = (settings.cases.clean, settings.cases.pairs)
    check_outside(settings.output, [folder for folder in read if folder is not None], "measured")
    sources = settings.cases.sources
    result = Result()
    features: dict[str, list[Tensor]] = {}
    seconds: dict[str, list[float | None]] = {}
    strips: list[Strip] = []
    for done, source in enumerate(sources):
        if settings.on_picture is not None:
            settings.on_picture(done, len(sources))
        try:
            case = source.read()
            pictures = [_result(settings, method, case) for method in settings.methods]
        except (DataError, ImageError) as error:
            if not settings.keep_going:
                raise
            logger.warning("left out: %s", error)
            result.left_out.append(str(error))
            continue
        for method, (pixels, values, spent) in zip(settings.methods, pictures, strict=True):
            result.images.setdefault(method.name, {})[case.name] = values
            seconds.setdefault(method.name, []).append(spent)
            if _together(settings):
                features.setdefault(method.name, []).append(features_of(pixels))
        if _together(settings):
            features.setdefault("", []).append(features_of(case.truth))
        if len(strips) < SHEET_PICTURES:
            columns = [(m.name, p) for m, (p, _, _) in zip(settings.methods, pictures, strict=True)]
            strips.append(Strip([*columns, ("truth", case.truth)]))
    if not strips:
        raise DataError(f"none of the {len(sources)} pictures can be measured; the warnings above say why.")
    for method in settings.methods:
        row = row_of(method.name, [*result.images[method.name].values()], seconds[method.name])
        distances = {
            published_name(name): distance(name, features[method.name], features[""])
            for name in _together(settings)
        }
        result.rows.append(
            Row(row.method, row.images, {**row.means, **distances}, row.intervals, row.seconds)
        )
    write(Photo(contact_sheet(strips)), settings.output / "sheet.png", force=True)
    return result


def _check_methods(methods: Sequence[Method]) -> None:
    if not methods:
        raise DataError("there is no method to measure; name a task, a model, or finished pictures.")
    folders = [folder_name(method.name) for method in methods]
    twice = sorted({name for name in folders if folders.count(name) > 1})
    if twice:
        raise DataError(f"two methods are called {twice[0]}; give them different names.")


def _together(settings: Settings) -> list[str]:
    return [name for name in settings.metrics if name in TOGETHER]


def _result(
    settings: Settings, method: Method, case: Case
) -> tuple[Pixels, dict[str, float | None], float | None]:
    """Picture, values and seconds of one method on one case; from the store as far as they are there."""
    store = Store(settings.output / folder_name(method.name))
    wanted = [name for name in settings.metrics if name in EACH]
    pixels: Pixels | None = None
    identity = method.identity
    if isinstance(method, Finished):  # made elsewhere: the pixels themselves are what its values depend on
        pixels = method.restore(case)
        identity += hashlib.sha256(pixels.tobytes()).hexdigest()
    key = key_of(case, identity)
    found = store.load(case, key, picture=pixels is None)
    values: Mapping[str, float | str | None] = found.values if found else {}
    spent = found.seconds if found else None
    if pixels is None and found is not None:
        pixels = found.pixels
    if pixels is None:
        began = time.perf_counter()
        pixels = method.restore(case)
        spent = time.perf_counter() - began
        store.save_picture(case, pixels)
    missing = [name for name in wanted if name not in values]
    if missing or found is None:
        values = {**values, **{name: number(measure(name, pixels, case.truth)) for name in missing}}
        store.save_record(case, {"key": key, "values": values, "seconds": spent})
    return pixels, {name: from_number(values[name]) for name in wanted}, spent
