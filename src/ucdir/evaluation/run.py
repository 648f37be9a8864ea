"""An evaluation from start to end: every image, every method, every metric; then the table and the contact sheet."""

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
from ucdir.evaluation.measure import distance, features_of, load_metrics, measure
from ucdir.evaluation.methods import Method, Precomputed
from ucdir.evaluation.sheet import Strip, contact_sheet
from ucdir.evaluation.store import Store, folder_name, from_number, key_of, number
from ucdir.evaluation.table import Row, row_of
from ucdir.images import Photo, write
from ucdir.metrics import DEFAULT, DistributionMetric, Features, Metric

logger = logging.getLogger(__name__)

SHEET_IMAGES = 6
"""Most images on the contact sheet."""


@dataclass(frozen=True)
class Settings:
    """What is measured, of which methods, by which metrics."""

    cases: Cases
    methods: Sequence[Method]
    output: Path
    """Folder for restored images, their values, table, sheet and plot; an evaluation resumes where it stopped."""
    metrics: Sequence[str] = DEFAULT
    """Names in `metrics.METRICS`."""
    keep_going: bool = False
    """Whether an image that cannot be measured is reported and left out, or ends the evaluation."""
    on_image: Callable[[int, int], None] | None = None
    """Called before each image with (images done, images in all)."""


@dataclass
class Result:
    """Rows of the table, the values of each image by method and name, and why images were left out."""

    rows: list[Row] = field(default_factory=list)
    images: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Restored:
    """One method's result on one case: image, values by metric, and seconds if it was timed."""

    image: Pixels
    values: dict[str, float | None]
    seconds: float | None


def evaluate(settings: Settings) -> Result:
    """Measure every method on every image.

    Raises:
        ConfigError: a metric is unknown, or the output lies within a folder that is measured.
        WeightsError: weights of a metric are missing.
        DataError, ImageError: an image cannot be measured (without `keep_going`), or none can.
        OutputError: the output cannot be written.
    """
    metrics = load_metrics(settings.metrics)
    per_image = [metric for metric in metrics if isinstance(metric, Metric)]
    distances = [metric for metric in metrics if isinstance(metric, DistributionMetric)]
    networks = list(dict.fromkeys(metric.load() for metric in distances))
    _check_methods(settings.methods)
    read = (settings.cases.clean, settings.cases.pairs)
    check_outside(settings.output, [folder for folder in read if folder is not None], "measured")
    sources = settings.cases.sources
    result = Result()
    features: dict[
        tuple[str | None, Features], list[Tensor]
    ] = {}  # by method (None: the clean images) and network
    seconds: dict[str, list[float | None]] = {}
    strips: list[Strip] = []
    for done, source in enumerate(sources):
        if settings.on_image is not None:
            settings.on_image(done, len(sources))
        try:
            case = source.read()
            columns = {
                method.name: _restored(settings.output, method, case, per_image)
                for method in settings.methods
            }
        except (DataError, ImageError) as error:
            if not settings.keep_going:
                raise
            logger.warning("left out: %s", error)
            result.left_out.append(str(error))
            continue
        for name, restored in columns.items():
            result.images.setdefault(name, {})[case.name] = restored.values
            seconds.setdefault(name, []).append(restored.seconds)
        for network in networks:
            features.setdefault((None, network), []).append(features_of(network, case.clean))
            for name, restored in columns.items():
                features.setdefault((name, network), []).append(features_of(network, restored.image))
        if len(strips) < SHEET_IMAGES:
            strips.append(
                Strip([*((name, one.image) for name, one in columns.items()), ("clean", case.clean)])
            )
    if not strips:
        raise DataError(f"none of the {len(sources)} images can be measured; the warnings above say why.")
    for method in settings.methods:
        means = {
            metric.name: distance(metric, features[method.name, metric.load()], features[None, metric.load()])
            for metric in distances
        }
        values = [*result.images[method.name].values()]
        result.rows.append(row_of(method.name, values, seconds[method.name], means))
    write(Photo(contact_sheet(strips)), settings.output / "sheet.png", force=True)
    return result


def _check_methods(methods: Sequence[Method]) -> None:
    if not methods:
        raise DataError(
            "there is no method to measure; name a task, a model, or a folder of restored images."
        )
    folders = [folder_name(method.name) for method in methods]
    twice = sorted({name for name in folders if folders.count(name) > 1})
    if twice:
        raise DataError(f"two methods are called {twice[0]}; give them different names.")


def _restored(output: Path, method: Method, case: Case, metrics: Sequence[Metric]) -> Restored:
    """The result of one method on one case, from the store as far as it is there."""
    store = Store(output / folder_name(method.name))
    image: Pixels | None = None
    identity = method.identity
    if isinstance(method, Precomputed):  # its values depend on nothing but the pixels
        image = method.restore(case)
        identity += hashlib.sha256(image.tobytes()).hexdigest()
    key = key_of(case, identity)
    found = store.load(case, key, image=image is None)
    values: Mapping[str, float | str | None] = found.values if found else {}
    seconds = found.seconds if found else None
    if image is None and found is not None:
        image = found.image
    if image is None:
        began = time.perf_counter()
        image = method.restore(case)
        seconds = time.perf_counter() - began
        store.save_image(case, image)
    missing = [metric for metric in metrics if metric.name not in values]
    if missing or found is None:
        values = {**values, **{metric.name: number(measure(metric, image, case.clean)) for metric in missing}}
        store.save_record(case, {"key": key, "values": values, "seconds": seconds})
    return Restored(image, {metric.name: from_number(values[metric.name]) for metric in metrics}, seconds)
