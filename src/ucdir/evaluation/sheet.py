"""The contact sheet: the methods' images side by side, and below each an enlarged crop of the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ucdir.evaluation.cases import Pixels

COLUMN: Final = 320
"""Width in pixels of a column."""
CROP: Final = 80
"""Side in pixels of the crop that is enlarged."""
GAP: Final = 8
LETTERS: Final = 24
"""Height in pixels of the line of names."""


@dataclass(frozen=True)
class Strip:
    """One image by every method: (name, uint8 [H,W,3]) from left to right, all of one size, the clean image last."""

    columns: Sequence[tuple[str, Pixels]]


def contact_sheet(strips: Sequence[Strip]) -> Pixels:
    """All strips, one below the other: uint8 [H,W,3]."""
    rows = [_strip(strip) for strip in strips]
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return np.asarray(sheet)


def place_of_interest(images: Sequence[Pixels]) -> tuple[int, int, int]:
    """Top, left and side of the window where the first image differs most from the last one, in squared error."""
    first, last = (image.astype(np.float32).mean(axis=2) for image in (images[0], images[-1]))
    side = min(CROP, *first.shape)
    difference = (first - last) ** 2
    total = np.pad(difference.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top), int(left), side


def _strip(strip: Strip) -> Image.Image:
    images = [image for _, image in strip.columns]
    top, left, side = place_of_interest(images)
    height, width = images[0].shape[:2]
    shown = max(1, round(COLUMN * height / width))
    row = Image.new(
        "RGB", (len(images) * (COLUMN + GAP) - GAP, LETTERS + shown + GAP + COLUMN + 2 * GAP), "white"
    )
    draw = ImageDraw.Draw(row)
    font = ImageFont.load_default(14)
    for number, (name, pixels) in enumerate(strip.columns):
        x = number * (COLUMN + GAP)
        draw.text((x + 2, 4), name, fill="black", font=font)
        image = Image.fromarray(pixels)
        whole = image.resize((COLUMN, shown), Image.Resampling.LANCZOS)
        scale = COLUMN / width
        frame = [left * scale, top * scale, (left + side) * scale - 1, (top + side) * scale - 1]
        ImageDraw.Draw(whole).rectangle(frame, outline="red")
        row.paste(whole, (x, LETTERS))
        enlarged = image.crop((left, top, left + side, top + side)).resize(
            (COLUMN, COLUMN), Image.Resampling.NEAREST
        )
        row.paste(enlarged, (x, LETTERS + shown + GAP))
    return row
