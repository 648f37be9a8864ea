"""Pages of text and screens, drawn: flat areas, letters and thin lines, of which photographs have too few."""

from __future__ import annotations

import string
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

LETTERS = string.ascii_letters + string.digits + ".,;:-()"


def document(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A part of a page or screen, uint8 [side,side,3]; a function of the generator.

    Boxes, rows of lines, bars and text on a paper of one colour, which is often white or black.
    """
    page = Image.new("RGB", (side, side), _paper(rng))
    draw = ImageDraw.Draw(page)
    for _ in range(rng.integers(0, 5)):
        SHAPES[int(rng.integers(len(SHAPES)))](draw, rng, side)
    for _ in range(rng.integers(1, 4)):
        _text(draw, rng, side)
    return np.asarray(page)


def _paper(rng: np.random.Generator) -> tuple[int, int, int]:
    kind = rng.random()
    if kind < 0.6:
        return (255, 255, 255) if kind < 0.35 else (0, 0, 0)
    return _colour(rng)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A grey one or a colour, with the ends of the range more often than what lies between."""
    values = np.clip(rng.normal(0.5, 0.6, 3), 0, 1) * 255
    if rng.random() < 0.5:
        values[:] = values[0]
    red, green, blue = (int(v) for v in np.rint(values))
    return red, green, blue


def _place(rng: np.random.Generator, side: int) -> tuple[int, int, int, int]:
    x, y = (int(v) for v in rng.integers(-side // 4, side, 2))
    width, height = (int(v) for v in rng.integers(2, side, 2))
    return x, y, x + width, y + height


def _box(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    draw.rectangle(_place(rng, side), fill=_colour(rng), outline=_colour(rng), width=int(rng.integers(0, 4)))


def _disc(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    draw.ellipse(_place(rng, side), fill=_colour(rng))


def _rows(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """Equal lines at equal distances, as of a table, a fence or a blind."""
    colour, width = _colour(rng), int(rng.integers(1, 4))
    distance, slope = int(rng.integers(width + 2, 24)), rng.normal(0, 0.3) * (rng.random() < 0.5)
    for start in range(-side, 2 * side, distance):
        ends = [(0, start), (side, start + int(slope * side))]
        draw.line(ends, fill=colour, width=width)


SHAPES = (_box, _disc, _rows)


def _text(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    size = int(8 * 2 ** rng.uniform(0, 2.5))
    length = 2 + 2 * side // size
    letters = [
        LETTERS[int(n)] if n < len(LETTERS) else " " for n in rng.integers(0, len(LETTERS) + 12, 8 * length)
    ]
    lines = ["".join(letters[n : n + length]) for n in range(0, len(letters), length)]
    x, y = (int(v) for v in rng.integers(-size, side, 2))
    shown = lines[: int(rng.integers(1, len(lines) + 1))]
    draw.multiline_text((x, y), "\n".join(shown), fill=_ink(rng), font=_font(size))


def _ink(rng: np.random.Generator) -> tuple[int, int, int]:
    kind = rng.random()
    if kind < 0.7:
        return (0, 0, 0) if kind < 0.45 else (255, 255, 255)
    return _colour(rng)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
