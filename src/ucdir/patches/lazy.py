"""Images of which parts are computed when they are read, in place of arrays that hold the whole.

A forward pass of networks whose operations are local, a sampler's arithmetic and noise by place need of their images
no more than the part that is asked for and what lies around it. So an image of any height is restored as if by whole
arrays, by the same code, but from its top to its bottom:

    degraded ──> guidance ──┬──> residual ──> result   rows of patches that are read
    noise ──────> noisy ────┘                          draw those that they need behind them

Of the result of a pass the rows that may still be read are kept, in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ucdir.errors import ConfigError
from ucdir.memory import in_bands, mapped_array, trim_heap
from ucdir.patches.split import Patch, intervals, round_up
from ucdir.patches.tile_runner import Forward, Planes, TileRunner, at_once

MAX_PASSES: Final = 100
"""Most forward passes of f_θ for each sample; each keeps rows of its own."""


class LazyPlanes(np.lib.mixins.NDArrayOperatorsMixin):
    """An image, float32 [1,3,H,W], of which a part is `image[..., top:bottom, left:right]`.

    Arithmetic gives another such image; `a += b` too, which leaves the one that `a` was as it is.
    """

    def __init__(self, shape: tuple[int, ...], function: Callable[..., Planes], *inputs: Any) -> None:
        """An image that a function computes.

        Args:
            shape: [1,3,H,W].
            function: of the same part of all inputs, with nothing around; it must not change them.
            inputs: such images of this shape, and numbers.
        """
        self.shape, self.function, self.inputs = shape, function, inputs

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Arithmetic, element by element."""
        if method != "__call__" or options.keys() - {"out"}:
            return NotImplemented
        return LazyPlanes(self.shape, ufunc, *inputs)

    def __getitem__(self, part: tuple[Any, slice, slice]) -> Planes:
        """Compute a part, [1,3,h,w]."""
        _, rows, columns = part
        order = _in_order(self)
        last = {id(one): n for n, image in enumerate(order) for one in image.inputs}
        values: dict[int, Any] = {}
        for n, image in enumerate(order):
            given = [values[id(one)] if isinstance(one, LazyPlanes) else one for one in image.inputs]
            values[id(image)] = image.compute(rows, columns, given)
            for one in image.inputs:
                if last[id(one)] == n:
                    values.pop(id(one), None)
        result: Planes = values[id(self)]
        return result

    def compute(self, rows: slice, columns: slice, inputs: list[Any]) -> Planes:
        """A part, of the same part of the inputs."""
        return self.function(*inputs)


def _in_order(image: LazyPlanes) -> list[LazyPlanes]:
    """An image and all that it is computed of, each after its inputs."""
    order: dict[int, LazyPlanes] = {}
    left = [image]
    while left:
        missing = [one for one in left[-1].inputs if isinstance(one, LazyPlanes) and id(one) not in order]
        if missing:
            left += missing
        else:
            order.setdefault(id(left[-1]), left.pop())
    return [*order.values()]


class LazySource(LazyPlanes):
    """An image whose parts come from elsewhere: `part(rows, columns)` -> [1,3,h,w]."""

    def __init__(self, shape: tuple[int, ...], part: Callable[[slice, slice], Planes]) -> None:
        super().__init__(shape, part)

    def compute(self, rows: slice, columns: slice, inputs: list[Any]) -> Planes:
        """See `LazyPlanes.compute`."""
        return self.function(rows, columns)


class LazyPass(LazyPlanes):
    """The result of a forward pass, computed in rows of patches from top to bottom."""

    def __init__(
        self, runner: LazyRunner, forward: Forward, images: Sequence[LazyPlanes], conditions: dict[str, Any]
    ) -> None:
        super().__init__(images[0].shape, forward)
        self.runner, self.images, self.conditions = runner, images, conditions
        before = [one.depth for image in images for one in _in_order(image) if isinstance(one, LazyPass)]
        self.depth: int = 1 + max(before, default=-1)  # how many passes it needs the results of
        self.following = runner.first(self.depth)  # row of patches that is computed next
        self.kept = RollingRows(runner.kept_rows, self.shape[1], self.shape[3], runner.folder)

    def compute(self, rows: slice, columns: slice, inputs: list[Any]) -> Planes:
        """See `LazyPlanes.compute`; rows that were read long ago are kept no more."""
        down = self.runner.down
        while self.following < len(down) and down[self.following][1].start < rows.stop:
            self._compute_patches(*down[self.following])
            self.following += 1
        return self.kept.read(rows, columns)

    def _compute_patches(self, rows: slice, kept_rows: slice) -> None:
        patches = [Patch(rows, columns, kept_rows, kept) for columns, kept in self.runner.across]
        windows = ([patch.read(image) for image in self.images] for patch in patches)
        height, width = self.shape[2:]

        def passed(images: list[Planes]) -> Planes:
            trim_heap()
            return self.runner.tiles(self.function, *images, **self.conditions)

        outputs = at_once(self.runner.workers, passed, windows)
        for patch, output in zip(patches, outputs, strict=True):
            top, left = patch.kept_rows.start, patch.kept_columns.start
            self.kept.write(top, left, patch.kept(output)[0, :, : height - top, : width - left])
            self.runner.count()


class LazyRunner:
    """Runs forward passes like `TileRunner`, in the same patches, but of a `LazyPlanes` and when they are read."""

    def __init__(
        self,
        tiles: TileRunner,
        shape: tuple[int, ...],
        passes: int,
        folder: Path,
        first_row: int = 0,
        on_patch: Callable[[int], None] | None = None,
    ) -> None:
        """Set up passes on one image.

        Args:
            tiles: runs a pass on a patch, and says how large patches are.
            shape: [1,3,H,W] of the image.
            passes: how many passes follow each other at most, each on the results of the one before.
            folder: where files of rows are made.
            first_row: of the last pass that is going to be read; what nothing below it needs is not computed.
            on_patch: called with the number of patches that are done.

        Raises:
            ConfigError: the patch size is too small for the networks, or there are more passes than `MAX_PASSES`.
        """
        if passes > MAX_PASSES + 1:
            raise ConfigError(
                f"an image of {shape[3]}x{shape[2]} pixels is restored part by part, which takes {passes - 1} passes; "
                f"choose fewer steps, so that there are {MAX_PASSES} at most."
            )
        engine = tiles.engine
        self.tiles, self.folder, self.on_patch, self.done = tiles, folder, on_patch, 0
        self.workers: int = getattr(engine, "workers", 1)  # an engine of several devices
        full = tiles.full(*shape[2:])
        self.size = tiles.size(shape[0], *full)
        overlap = round_up(engine.receptive_field, engine.multiple_of)
        self.down = intervals(full[0], self.size, overlap, engine.multiple_of)
        self.across = intervals(full[1], self.size, overlap, engine.multiple_of)
        # each pass is so many rows of patches ahead of the one that reads it; what lies above is still in the overlap
        core = self.down[0][1].stop
        self.passes, self.ahead = passes, int(-(-overlap // core))
        self.first_row: int = next(n for n, (_, kept) in enumerate(self.down) if kept.stop > first_row)
        self.kept_rows = min(full[0], ((passes - 1) * self.ahead + 1) * core + overlap)

    @property
    def kept_bytes(self) -> int:
        """What the rows that are kept of a pass take of a disk and of address space."""
        return int(self.kept_rows * 12 * self.across[-1][1].stop)

    def first(self, depth: int) -> int:
        """The first row of patches that is computed by a pass which needs the results of `depth` others."""
        return max(0, self.first_row - (self.passes - 1 - depth) * self.ahead)

    def __call__(self, forward: Forward, *images: LazyPlanes, **conditions: Any) -> LazyPlanes:
        """As `TileRunner.__call__`; `forward` is called when the result is read."""
        return LazyPass(self, forward, images, conditions)

    def combined(self, function: Callable[..., Planes], first: LazyPlanes, *others: LazyPlanes) -> LazyPlanes:
        """As `TileRunner.combined`."""
        return LazyPlanes(first.shape, function, first, *others)

    def count(self) -> None:
        """A patch is done."""
        self.done += 1
        if self.on_patch is not None:
            self.on_patch(self.done)


class RollingRows:
    """The last rows of an image, float32 [rows,C,W], in a file that has no name and ends with the process.

    What is mapped of a file counts as this process's memory until it is let go of, which is done every few rows.
    """

    def __init__(self, rows: int, channels: int, width: int, folder: Path) -> None:
        self.array = mapped_array((rows, channels, width), np.float32, folder)
        self.rows = rows

    def write(self, top: int, left: int, part: Planes) -> None:
        """Put a part [C,h,w] into the image, whose other rows more than `rows` above are lost."""
        for rows, own in self._pieces(top, top + part.shape[1]):
            self.array[rows, :, left : left + part.shape[2]] = part[:, own].swapaxes(0, 1)

    def read(self, rows: slice, columns: slice) -> Planes:
        """A part, [1,C,h,w]."""
        part = np.empty(
            (1, self.array.shape[1], rows.stop - rows.start, columns.stop - columns.start), np.float32
        )
        for stored, own in self._pieces(rows.start, rows.stop):
            part[0, :, own] = self.array[stored, :, columns].swapaxes(0, 1)
        return part

    def _pieces(self, top: int, bottom: int) -> Iterator[tuple[slice, slice]]:
        """Where rows are stored, and which these are of the rows that are asked for; a few at a time."""
        at = top
        while at < bottom:
            place = at % self.rows
            for stored in in_bands(self.array, place, min(place + bottom - at, self.rows)):
                count = stored.stop - stored.start
                yield stored, slice(at - top, at - top + count)
                at += count
