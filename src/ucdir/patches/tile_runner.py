"""One forward pass of a network on an image of any size, in patches that fit the memory (Sec. 3.3)."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError, DeviceError
from ucdir.memory import as_text, check_free, free_memory, trim_heap
from ucdir.patches.split import Patch, round_up, smallest_patch, split

logger = logging.getLogger(__name__)

WHOLE_PIXELS = 1_400_000
"""Images of up to this many pixels are not split, unless a patch size is given."""
PATCH_SIZE = 896
"""Side in pixels of the patches of larger images; smaller for a batch, whose images are run together."""
BAND = 64
"""Rows that are computed at once, so that no more whole images are held than necessary."""
PASS_BYTES = 24_000_000
"""Memory of a forward pass that does not depend on the size of the patch: the arithmetic's own buffers."""
SHRINK = 2 / 3
"""What a side is multiplied by when the memory was too small; the area, and about the memory, by less than half."""

_claims: list[int] = []
"""Bytes that the restorations of other threads take, those that they have taken already included."""
_changed = threading.Condition()

Planes = NDArray[np.float32]
Forward = Callable[..., Planes]
Thing = TypeVar("Thing")


class Tileable(Protocol):
    """What has to be known of networks to split their images."""

    @property
    def receptive_field(self) -> int:
        """Radius in pixels that each pixel of a result depends on."""

    @property
    def multiple_of(self) -> int:
        """Total stride: heights and widths are multiples of it, and patches lie on its grid."""

    @property
    def bytes_per_pixel(self) -> int:
        """Main memory of a forward pass for each pixel of a patch; 0 where it runs in a memory of its own."""

    @property
    def device(self) -> Any:
        """Where it runs, for messages."""


class TileRunner:
    """Runs forward passes of an engine on whole images, patch by patch.

    Noise is a function of its place and every operation of the networks is local, so the size of the patches changes
    nothing of the picture: where the memory does not hold one, smaller ones are taken from then on.
    """

    def __init__(
        self,
        engine: Tileable,
        patch_size: int | None = None,
        on_patch: Callable[[int, int], None] | None = None,
    ) -> None:
        """Set up passes of an engine.

        Args:
            engine: whose forward passes are run.
            patch_size: longest side of a patch in pixels, overlaps included; None: as memory allows.
            on_patch: called as (patches done, patches in all) of a pass after each patch.

        Raises:
            ConfigError: nothing of a patch would be left without its overlaps.
        """
        self.engine = engine
        self.patch_size = patch_size
        self.on_patch = on_patch
        self.pass_bytes: int | None = None  # what `fitted` found that a forward pass may take
        self.limit: int | None = None  # what was found to fit, once something did not
        self.smallest = smallest_patch(engine.receptive_field, engine.multiple_of)

    def __call__(self, forward: Forward, *images: Planes, **conditions: Any) -> Planes:
        """One forward pass on whole images.

        Args:
            forward: takes patches of all images, [B,3,h,w] with h and w multiples of `multiple_of`, and gives
                [B,3,h,w]; raises MemoryError where the device does not hold them.
            images: one or more float32 [B,3,H,W] of the same B, H and W, in memory or mapped from a file.
            conditions: handed on as they are.

        Returns:
            [B,3,H,W]: what `forward` would give on the whole images, mirrored at the lower and right border to the next
            multiple of `multiple_of`, and to two of them at least.

        Raises:
            ConfigError: the patch size is too small for the networks.
            DeviceError: the memory does not hold the patch size that was chosen, or not even the smallest.
        """
        batch, _, height, width = images[0].shape
        full = self.full(height, width)
        while True:
            size = self.size(batch, *full)
            try:
                return _run(forward, images, conditions, full, size, self.engine, self.on_patch)
            except MemoryError as error:
                if self.patch_size is not None or size <= self.smallest:
                    raise self._too_large(size) from error
            # outside of `except`, or the failed pass's arrays would live on in the traceback
            self.limit = max(self.smallest, int(min(size, max(full)) * SHRINK))
            logger.warning(
                "the memory of %s is full: going on with patches of %d pixels", self.engine.device, self.limit
            )

    def combined(self, function: Callable[..., Planes], first: Planes, *others: Planes) -> Planes:
        """A function, pixel by pixel, of images of one shape; the first is overwritten by its result."""
        for top in range(0, first.shape[-2], BAND):
            band = (..., slice(top, top + BAND), slice(None))
            first[band] = function(first[band], *(other[band] for other in others))
        return first

    def full(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image mirrored to what the networks take."""
        # one coarsest pixel is not enough: oneDNN's 2x2 convolution of stride 2 gives NaN in bf16 on maps 2 wide
        multiple = self.engine.multiple_of
        return max(round_up(height, multiple), 2 * multiple), max(round_up(width, multiple), 2 * multiple)

    def size(self, batch: int, height: int, width: int) -> int:
        """Longest side of the patches of images of a size.

        Raises:
            ConfigError: the patch size is too small for the networks.
        """
        if self.patch_size is not None:
            if not isinstance(self.patch_size, (int, np.integer)):
                raise ConfigError(f"a patch size of {self.patch_size!r:.80} pixels is not a whole number.")
            if self.patch_size < min(self.smallest, max(height, width)):
                raise ConfigError(
                    f"a patch size of {self.patch_size} pixels is too small for this model, which looks "
                    f"{self.engine.receptive_field} pixels around each pixel: choose {self.smallest} or more."
                )
            return self.patch_size
        if batch * height * width <= WHOLE_PIXELS:
            size = max(height, width)
        else:
            size = max(int(PATCH_SIZE / batch**0.5), self.smallest)
        if self.pass_bytes is not None and self.needed(batch, height, width, size) > self.pass_bytes:
            pixels = max(self.pass_bytes - PASS_BYTES, 0) / self.engine.bytes_per_pixel
            size = max(int((pixels / batch) ** 0.5), self.smallest)
        return min(size, self.limit or size)

    @contextmanager
    def fitted(self, shape: Sequence[int], whole_images: float, limit: int | None = None) -> Iterator[int]:
        """Find out what the memory holds for the passes inside, and claim it: other threads count on what is left.

        One for which nothing is left waits until another has finished.

        Args:
            shape: [B,3,H,W] of the images.
            whole_images: number of float32 arrays of this shape that the caller is going to hold.
            limit: bytes that this process may take in all; by default what is free.

        Yields:
            how many images of the batch fit at once.

        Raises:
            ConfigError: the patch size is too small for the networks.
            DeviceError: not even one image fits, in the smallest patches.
        """
        batch, _, height, width = shape
        self.size(batch, height, width)  # refuses a patch size first
        image_bytes = int(whole_images * 3 * 4 * height * width)
        smallest = image_bytes + self.needed(1, height, width)
        with _changed:
            trim_heap()
            while (free := free_memory(limit)) is not None and _claims and free - sum(_claims) < smallest:
                _changed.wait()
            count, claim = batch, 0
            if free is not None:
                check_free(smallest, f"an image of {width}x{height} pixels", limit)
                free -= sum(_claims)
                while count > 1 and count * image_bytes + self.needed(count, height, width) > free:
                    count -= count // 2
                self.pass_bytes = free - count * image_bytes
                side = self.size(count, height, width)
                if side < min(PATCH_SIZE // 2, max(height, width)) and self.patch_size is None:
                    logger.warning(
                        "%s is free: patches of %d pixels are taken, which is slower", as_text(free), side
                    )
                claim = count * image_bytes + self.needed(count, height, width, side)
            _claims.append(claim)
        try:
            yield count
        finally:
            with _changed:
                _claims.remove(claim)
                _changed.notify_all()

    def needed(self, batch: int, height: int, width: int, patch_size: int | None = None) -> int:
        """Main memory in bytes of a forward pass on images [B,3,H,W], in patches of a size; by default the smallest."""
        side = patch_size or self.patch_size or self.smallest
        pixels = batch * min(height, side) * min(width, side)
        return pixels * self.engine.bytes_per_pixel + PASS_BYTES * (self.engine.bytes_per_pixel > 0)

    def _too_large(self, size: int) -> DeviceError:
        advice = [f"choose a smaller patch size, down to {self.smallest}"] if size > self.smallest else []
        if str(self.engine.device) != "cpu":
            advice.append("choose the device cpu")
        return DeviceError(
            f"device '{self.engine.device}': its memory does not hold patches of {size} pixels; "
            f"{', or '.join(advice) or 'close other programs, or use a machine with more memory'}."
        )


def _run(
    forward: Forward,
    images: Sequence[Planes],
    conditions: dict[str, Any],
    full: tuple[int, int],
    patch_size: int,
    engine: Tileable,
    on_patch: Callable[[int, int], None] | None,
) -> Planes:
    """One forward pass in patches of one size; `full` are height and width of the mirrored images."""
    overlap = round_up(engine.receptive_field, engine.multiple_of)
    patches = list(split(*full, patch_size, overlap, engine.multiple_of))
    result = np.empty(images[0].shape, dtype=np.float32)

    def restored(patch: Patch) -> Planes:
        if len(patches) > 1:
            trim_heap()
        return forward(*(patch.read(image) for image in images), **conditions)

    workers = min(getattr(engine, "workers", 1), len(patches))  # an engine of several devices
    for number, (patch, output) in enumerate(zip(patches, at_once(workers, restored, patches), strict=True)):
        patch.write(output, result)
        if on_patch is not None:
            on_patch(number + 1, len(patches))
    return result


def at_once(workers: int, function: Callable[[Thing], Planes], things: Iterable[Thing]) -> Iterator[Planes]:
    """`function(thing)` of each thing, in their order, so many at once; what is not needed any more is not begun."""
    if workers == 1:
        yield from map(function, things)
        return
    begun: deque[Future[Planes]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for thing in things:
                if len(begun) == 2 * workers:  # so that results do not pile up
                    yield begun.popleft().result()
                begun.append(pool.submit(function, thing))
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
