"""A pipeline for one photo of several that are restored at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ucdir.engines import SeveralEngines
from ucdir.images.pixels import Signal
from ucdir.pipeline import RestorationPipeline
from ucdir.workflows.parallel import Relay
from ucdir.workflows.watched import Watched


class Relayed(Watched):
    """A pipeline for one photo, whose networks run in the main thread or on several devices, watched."""

    def __init__(
        self,
        pipeline: RestorationPipeline,
        relay: Relay,
        watch: Callable[[int, int, int, int], None] | None,
        samples: int,
        before_writing: Callable[[], object],
    ) -> None:
        """Relay a pipeline's work.

        Args:
            pipeline: the pipeline.
            relay: of the thread that calls.
            watch: as of `Watched`.
            samples: as of `Watched`.
            before_writing: called when all samples are there.
        """
        self.shared = isinstance(pipeline.engine, SeveralEngines) and relay.threaded
        if self.shared:  # the main thread shows how far it is, and stops it
            watch = partial(relay.call, watch or (lambda *_: None))
        super().__init__(pipeline, watch, samples)
        self.relay, self.before_writing, self.left = relay, before_writing, samples

    def restore_signal(self, degraded: Signal, **options: Any) -> Signal:
        """As `RestorationPipeline.restore_signal`."""
        restore = super().restore_signal
        restored: Signal = (
            restore(degraded, **options) if self.shared else self.relay.call(restore, degraded, **options)
        )
        self.left -= 1
        if self.left == 0:
            self.before_writing()
        return restored

    def restore_parts(self, *image: Any, **options: Any) -> None:
        """As `RestorationPipeline.restore_parts`."""
        restore = super().restore_parts
        if self.shared:
            restore(*image, **options)
        else:
            self.relay.call(restore, *image, **options)
        self.before_writing()
