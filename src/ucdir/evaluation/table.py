"""The table of an evaluation: one row for each method, with confidence intervals, as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from ucdir.evaluation.store import number
from ucdir.metrics import METRICS

RESAMPLES: Final = 2000
"""Samples of the bootstrap."""
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Row:
    """One method: mean and interval of each metric of an image, and the value of each distance of distributions."""

    method: str
    images: int
    means: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seconds: float | None = None
    """Mean time of restoring one image."""


def row_of(
    method: str,
    values: Sequence[Mapping[str, float | None]],
    seconds: Sequence[float | None],
    distances: Mapping[str, float | None],
) -> Row:
    """A row: means over the images that have a value, and the distances; with 95 % intervals by bootstrap.

    One image, or an infinite value, has no interval.
    """
    means: dict[str, float | None] = {}
    intervals = {}
    for metric in values[0] if values else ():
        known = [value for one in values if (value := one[metric]) is not None]
        means[metric] = float(np.mean(known)) if known else None
        if len(known) > 1 and all(math.isfinite(value) for value in known):
            intervals[metric] = bootstrap(known)
    timed = [one for one in seconds if one is not None]
    return Row(
        method, len(values), {**means, **distances}, intervals, float(np.mean(timed)) if timed else None
    )


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the mean: percentiles over resampling with replacement."""
    rng = np.random.default_rng(0)
    array = np.asarray(values, dtype=np.float64)
    means = array[rng.integers(len(array), size=(RESAMPLES, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """All metrics of the rows, in their order."""
    return list(dict.fromkeys(metric for row in rows for metric in row.means))


def heading(metric: str) -> str:
    """A metric's name with an arrow in the direction that is better."""
    return f"{metric.upper() if '_' not in metric else metric}{'↑' if METRICS[metric].better == 'higher' else '↓'}"


def cell(metric: str, value: float | None) -> str:
    """A value with the metric's number of decimals."""
    return "-" if value is None else f"{value:.{METRICS[metric].digits}f}"


def as_text(rows: Sequence[Row]) -> list[str]:
    """Lines for a terminal."""
    metrics = metrics_of(rows)
    widths = [max(len(heading(m)), 8) for m in metrics]
    first = max(len("method"), *(len(row.method) for row in rows))
    lines = ["  ".join([f"{'method':{first}}", *(f"{heading(m):>{w}}" for m, w in zip(metrics, widths, strict=True)),
                        f"{'s/image':>8}"])]  # fmt: skip
    for row in rows:
        cells = [f"{cell(m, row.means.get(m)):>{w}}" for m, w in zip(metrics, widths, strict=True)]
        seconds = "-" if row.seconds is None else f"{row.seconds:.2f}"
        lines.append("  ".join([f"{row.method:{first}}", *cells, f"{seconds:>8}"]))
    return lines


def as_markdown(rows: Sequence[Row], settings: Mapping[str, Any]) -> str:
    """A table with intervals, and below it what was measured."""
    metrics = metrics_of(rows)
    lines = [f"| method | {' | '.join(heading(m) for m in metrics)} |", "|---" * (len(metrics) + 1) + "|"]
    for row in rows:
        cells = []
        for metric in metrics:
            text = cell(metric, row.means.get(metric))
            if metric in row.intervals:
                low, high = row.intervals[metric]
                text += f" ({cell(metric, low)} to {cell(metric, high)})"
            cells.append(text)
        lines.append(f"| {row.method} | {' | '.join(cells)} |")
    stated = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
    images = max(row.images for row in rows)
    brackets = " In brackets: 95 % confidence interval of the mean." * any(row.intervals for row in rows)
    lines += ["", f"{images} images; {stated}.{brackets}"]
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """One line for each method: means, then the ends of the intervals."""
    metrics = metrics_of(rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = [f"{metric}_{end}" for metric in metrics for end in ("low", "high")]
    writer.writerow(["method", "images", *metrics, *ends])
    for row in rows:
        intervals = [end for m in metrics for end in row.intervals.get(m, ("", ""))]
        writer.writerow([row.method, row.images, *(row.means.get(m) for m in metrics), *intervals])
    return out.getvalue()


def as_dict(
    rows: Sequence[Row], settings: Mapping[str, Any], images: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Everything: settings, versions, rows, and the values of every image by method and name."""
    return {
        "settings": dict(settings),
        "versions": versions(),
        "rows": [
            {
                "method": row.method, "images": row.images, "seconds": row.seconds,
                "means": {k: number(v) for k, v in row.means.items()},
                "intervals": {k: list(v) for k, v in row.intervals.items()},
            }
            for row in rows
        ],
        "images": {
            method: {
                name: {k: number(v) for k, v in values.items()} for name, values in by_name.items()
            }
            for method, by_name in images.items()
        },
    }  # fmt: skip


def versions() -> dict[str, str]:
    """What the numbers depend on beside the images."""
    names = ("ucdir", "torch", "torchmetrics", "numpy", "simplejpeg", "pyvips")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
