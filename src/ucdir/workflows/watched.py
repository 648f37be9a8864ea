"""A pipeline for one photo that says how far it is, and can be stopped there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ucdir.images.pixels import Signal
from ucdir.pipeline import RestorationPipeline

Watch = Callable[[int, int, int, int], None]
"""Called after each patch: (passes of the networks done, passes in all, patches of this pass done, in all)."""


class Watched(RestorationPipeline):
    """A pipeline whose patches are counted; what `watch` raises ends the restoration."""

    def __init__(self, pipeline: RestorationPipeline, watch: Watch | None, samples: int = 1) -> None:
        """Watch a pipeline.

        Args:
            pipeline: the pipeline.
            watch: what is called; None: nothing.
            samples: how many times `restore_signal` is going to be called.
        """
        super().__init__(pipeline.engine, pipeline.config, pipeline.max_memory)
        self.folder = pipeline.folder
        self.watch, self.samples, self.passes = watch, samples, 0

    def restore_signal(self, degraded: Signal, **options: Any) -> Signal:
        """As `RestorationPipeline.restore_signal`."""
        watch = self.watch
        if watch is None:
            return super().restore_signal(degraded, **options)
        steps = 0 if options.get("fidelity") == 1 else options.get("steps") or self.config.steps
        count = self.samples * (1 + steps)

        def on_patch(done: int, patches: int) -> None:
            watch(min(self.passes, count - 1), count, done, patches)
            self.passes += done == patches

        return super().restore_signal(degraded, **options, on_patch=on_patch)

    def restore_parts(self, *image: Any, **options: Any) -> None:
        """As `RestorationPipeline.restore_parts`; all of its passes count as one."""
        watch = self.watch
        on_patch = None if watch is None else lambda done, count: watch(0, 1, done, count)
        super().restore_parts(*image, **options, on_patch=on_patch)
