"""The perception-distortion plot (Blau and Michaeli 2018): PSNR on x, LPIPS on y; lower right is better."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from ucdir.evaluation.table import Row
from ucdir.extras import optional_module


def plot(rows: Sequence[Row]) -> bytes | None:
    """A PNG file; None if no row has finite values of both metrics.

    Raises:
        UcdirError: matplotlib is not installed.
    """
    shown = [(row, *point) for row in rows if (point := _point(row)) is not None]
    if not shown:
        return None
    figure = optional_module("matplotlib.figure", "metrics", "the plot").Figure(
        figsize=(6, 4.5), layout="constrained"
    )
    axes = figure.add_subplot()
    for row, x, y in shown:
        (x_low, x_high), (y_low, y_high) = (
            row.intervals.get("psnr", (x, x)),
            row.intervals.get("lpips", (y, y)),
        )
        axes.errorbar(
            x, y, xerr=[[x - x_low], [x_high - x]], yerr=[[y - y_low], [y_high - y]],
            marker="o", capsize=2, linewidth=0.8, label=row.method,
        )  # fmt: skip
    axes.set_xlabel("PSNR in dB (distortion; further right is better)")
    axes.set_ylabel("LPIPS (perception; lower is better)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()


def _point(row: Row) -> tuple[float, float] | None:
    """PSNR and LPIPS, where both are finite."""
    x, y = row.means.get("psnr"), row.means.get("lpips")
    if x is None or y is None or not (math.isfinite(x) and math.isfinite(y)):
        return None
    return x, y
