"""Restoration of many photos: what is finished is skipped, and one that fails does not stop the others."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ucdir.engines import (
    Name,
    all_devices,
    choose_engine,
    has_gpu,
    import_engine,
    split_devices,
)
from ucdir.errors import ConfigError, OutputError, UcdirError, fault
from ucdir.images import Exposure, Photo, read
from ucdir.images.atomic import check_path, folder_problem, make_folder, remove_stale
from ucdir.images.large import large_images
from ucdir.images.paths import shown
from ucdir.images.read import identify
from ucdir.limits import max_streamed_file_bytes
from ucdir.model.onnx_folder import read_config
from ucdir.model.pretrained import list_models, model_digest, model_folder
from ucdir.pipeline import RestorationPipeline, load
from ucdir.tasks import TASKS
from ucdir.workflows.choice import Choice, choose_task, left_alone, told_task
from ucdir.workflows.parallel import Relay, in_order
from ucdir.workflows.records import Entry, digest, is_finished, records_of, refusal
from ucdir.workflows.relayed import Relayed
from ucdir.workflows.restore import RestoredPhoto, restore, restore_bytes
from ucdir.workflows.sampling import check_task
from ucdir.workflows.stores import check_output, done_in_store, exists, is_stored, on_disk

Status = Literal["restored", "finished", "planned", "unchanged", "failed"]
"""Of photos that nothing is wrong with, nothing is written: they are unchanged."""


class Job(NamedTuple):
    """One file to be written."""

    photo: Path
    output: Path
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a job; of a planned one, which task it is for, and why."""

    job: Job
    status: Status
    error: str | None = None
    done: RestoredPhoto | None = None
    notes: tuple[str, ...] = ()
    task: str | None = None
    reason: str | None = None


Report = Callable[[Outcome], None]
Watch = Callable[[Job, int, int, int, int], None]
"""Called after each patch: (job, passes of the networks done, passes in all, patches of this pass done, in all)."""


@dataclass
class Batch:
    """How the photos of a batch are restored.

    Args:
        task: a name in `tasks.TASKS`, or "auto".
        model: name or folder; None: the one of each photo's task.
        device: as in `pipeline.load`, but "cuda" is all GPUs.
        precision: as in `pipeline.load`.
        settings: arguments of `workflows.restore.restore` that change the result, beside those above and the seed.
        options: arguments of it that change a result by no more than rounding, if at all.
        engine: as in `pipeline.load`.
        overwrite: whether files that exist are replaced.
        resume: whether results that are finished are left as they are.
    """

    task: str = "auto"
    model: str | None = None
    device: str = "auto"
    precision: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    overwrite: bool = False
    resume: bool = True

    def __post_init__(self) -> None:
        if self.task not in ("auto", *TASKS):
            raise ConfigError(f"--task {self.task} is unknown; choose auto or one of {', '.join(TASKS)}.")
        self._imported = False  # the engine
        self._loaded: dict[str, RestorationPipeline] = {}
        self._records = cache(records_of)
        self._digest = cache(lambda name: model_digest(model_folder(name)))
        # results of the engine that is not chosen differ by rounding; those from before there was a choice have none
        chosen = {} if self.engine == "auto" else {"engine": self.engine}
        self._settled = json.loads(json.dumps({**self.settings, "precision": self.precision, **chosen}))
        self._made: set[Path] = set()  # folders
        self._begun = False  # whether a photo was restored

    def __reduce__(self) -> tuple[Any, ...]:
        """As its arguments, for another process: what is loaded stays here."""
        return partial(Batch, **{one.name: getattr(self, one.name) for one in fields(self)}), ()

    # ------------------------------------------------------------------------------------------------ before the work

    def check_model(self) -> None:
        """Refuse a model that is missing or for another task, before it is loaded.

        Raises:
            UcdirError: it is.
        """
        if self.model is not None:
            check_task(self.task, self._model_task(self.model))

    def check(self, jobs: Sequence[Job]) -> dict[Job, Outcome]:
        """The jobs that cannot be done, found out without reading a photo or loading a model.

        Raises:
            OutputError: an object store cannot be written.
            ConfigError: it is to keep times.
        """
        if self.options.get("keep_times") and any(is_stored(path) for job in jobs for path in job[:2]):
            raise ConfigError("--keep-times: objects in a store have no times to keep; leave it out.")
        for folder in {
            job.output.parents[-1]: job.output.parent for job in jobs if is_stored(job.output)
        }.values():
            check_output(folder)
        folders: dict[Path, OutputError | None] = {}
        problems = {job: self._problem(job, folders) for job in jobs}
        return {
            job: Outcome(job, "failed", str(error)) for job, error in problems.items() if error is not None
        }

    def _problem(self, job: Job, folders: dict[Path, OutputError | None]) -> UcdirError | None:
        folder, name = job.output.parent, job.output.name
        try:
            if not is_stored(job.photo) and not os.path.isfile(job.photo):  # noqa: PTH113 (never an error)
                read(job.photo)
            if is_stored(folder):
                return None
            if folder not in folders:
                folders[folder] = folder_problem(folder)
            known = self.overwrite or (self.resume and name in self._records(folder).entries)
            if not known and os.path.lexists(job.output):
                check_path(job.output, force=False)
        except UcdirError as error:
            return error
        return folders[folder]

    def plan(self, job: Job) -> Outcome:
        """What `run` would do; nothing is written. The photo is decoded where nothing but its pixels shows the task."""
        try:
            entry, _ = self._begin(job)
            if entry is None:
                return Outcome(job, "finished")
            with on_disk(job.photo, job.output) as (photo, output):
                kind, _ = identify(photo)
                choice = self._choice(Job(photo, output, job.seed), kind)
        except UcdirError as error:
            return Outcome(job, "failed", str(error))
        if choice.task is None:
            return Outcome(
                job, "unchanged", notes=(left_alone(shown(job.photo), choice.reason),), reason=choice.reason
            )
        return Outcome(job, "planned", task=choice.task, reason=choice.reason)

    def _choice(self, job: Job, kind: str) -> Choice:
        if self.model is not None:
            return Choice(self._model_task(self.model), "what the model is for")
        if self.task != "auto":
            return Choice(self.task, "as chosen")
        scalars, consistent = self.settings.get("scalars") or {}, bool(self.settings.get("consistent"))
        amplified = kind == "RAW" or not isinstance(self.settings.get("brighten", "auto"), str)
        if amplified or consistent or told_task(scalars) is not None:
            unread = Photo(
                np.zeros((1, 1, 1), np.uint8), format=kind, exposure=Exposure(1.0) if amplified else None
            )
            return choose_task(unread, scalars, consistent=consistent)
        with large_images(Path(tempfile.gettempdir()), self.options.get("max_pixels")):
            return choose_task(read(job.photo), scalars)

    @staticmethod
    def _model_task(model: str) -> str:
        return read_config(model_folder(model)).task

    def _begin(self, job: Job) -> tuple[Entry | None, bool]:
        """What is recorded before the work, and whether it replaces a file; None if the result is finished.

        Raises:
            UcdirError: the photo cannot be read, or what is there is not replaced unasked.
        """
        entry: Entry = {
            "output": job.output.name, "photo": digest(job.photo, max_streamed_file_bytes()),
            "settings": {**self._settled, "seed": job.seed}, "task": None if self.task == "auto" else self.task,
            "model": None if self.model is None else self._digest(self.model), "replaces": None,
        }  # fmt: skip
        if not (exists(job.output) if is_stored(job.output) else os.path.lexists(job.output)):
            return entry, False
        if self.resume:
            last = self._records(job.output.parent).entries.get(job.output.name)
            try:
                if is_finished(job.output, last, {**entry, "model": entry["model"] or self._model_of(last)}):
                    return None, False
            except OutputError:
                if not self.overwrite:
                    raise
        elif not self.overwrite and is_stored(job.output):
            raise refusal(job.output, "exists already")
        elif not self.overwrite:
            check_path(job.output, force=False)
        entry["replaces"] = digest(job.output)
        return entry, True

    def _model_of(self, entry: Entry | None) -> str | None:
        """Digest of the model that would be taken now for a result."""
        task = None if entry is None else entry.get("task")
        if entry is None or task not in TASKS or task not in list_models():
            return None
        return self._digest(task)

    # ------------------------------------------------------------------------------------------------------- the work

    def run(
        self,
        jobs: Sequence[Job],
        report: Report,
        watch: Watch | None = None,
        threads: int | None = None,
        *,
        alone: bool = True,
    ) -> None:
        """Do the jobs, and report each outcome in their order.

        Args:
            jobs: no two with one output.
            report: called with each outcome.
            watch: called after each patch.
            threads: how many photos are read, restored or written at once; the results are the same. None: one, or
                with a GPU as many as keep it busy.
            alone: whether no other machine writes into the folders; then what is left behind there is removed.

        Raises:
            UcdirError: nothing can be done, as the model cannot be loaded or an argument is out of range.
        """
        self.check_model()
        if alone:
            self.tidy(jobs)
        threads = self._default_threads() if threads is None else threads
        relay = Relay(threaded=threads > 1)
        try:
            in_order(lambda job: self._outcome(job, relay, watch), jobs, threads, report, relay)
        finally:
            for folder in sorted(self._made if alone else (), reverse=True):
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()

    def _default_threads(self) -> int:
        """A GPU restores a photo in much less time than a core takes to read and write it."""
        devices = split_devices(self.device)
        kind = devices[0].partition(":")[0]
        if kind == "auto" and has_gpu() and self._engine() == "torch":
            kind = "cuda"
        if kind in ("auto", "cpu"):
            return 1 if len(devices) == 1 else 2 * len(devices)
        return min(os.cpu_count() or 1, 16) + len(devices)

    def tidy(self, jobs: Sequence[Job]) -> None:
        """Remove what processes that were killed left in the folders of results."""
        for folder in {job.output.parent for job in jobs if not is_stored(job.output)}:
            remove_stale(folder)

    def restore_bytes(self, data: bytes, seed: int, format: str | None) -> tuple[bytes, RestoredPhoto]:
        """As `workflows.restore.restore_bytes`."""
        models = self._models(Job(Path("-"), Path("-")), Relay(), None, lambda: None)
        of_files = ("uncertainty", "keep_times", "max_pixels", "resume")
        options = {name: value for name, value in self.options.items() if name not in of_files}
        return restore_bytes(
            data, task=self.task, pipeline=models, seed=seed, format=format, **self.settings, **options
        )

    def _outcome(self, job: Job, relay: Relay, watch: Watch | None) -> Outcome:
        try:
            entry, force = self._begin(job)
        except Exception as error:  # noqa: BLE001 (see `_failed`)
            return _failed(job, error)
        if entry is None:
            return Outcome(job, "finished")
        records = self._records(job.output.parent)
        models = self._models(job, relay, watch, lambda: records.add(entry))
        try:
            if relay.threaded and not self._imported:
                relay.call(self._import_engine)
            return self._restored(job, entry, force, models)
        except Exception as error:
            if isinstance(error, ConfigError) and not self._begun and shown(job.photo) not in str(error):
                raise  # it is not about this photo, and the others would end the same
            if isinstance(error, OutputError) and not force and self._is_finished(job):
                return Outcome(job, "finished")  # by another process, meanwhile
            return _failed(job, error)

    def _is_finished(self, job: Job) -> bool:
        with contextlib.suppress(UcdirError):
            return self._begin(job)[0] is None
        return False

    def _restored(self, job: Job, entry: Entry, force: bool, models: Any) -> Outcome:
        if not is_stored(job.output):
            self._made |= make_folder(job.output.parent)
        records = self._records(job.output.parent)
        with on_disk(job.photo, job.output) as (photo, output):
            done = restore(
                photo, output, task=self.task, pipeline=models, seed=job.seed, force=force,
                **self.settings, **self.options,
            )  # fmt: skip
            done = done_in_store(done, {photo: job.photo, output: job.output}, job.output)
        if done.output is None:
            return Outcome(job, "unchanged", done=done, notes=done.notes, reason=done.reason)
        self._begun = True
        model, result = self._digest(self.model or str(done.task)), digest(job.output)
        notes = done.notes
        if not records.add({**entry, "task": done.task, "model": model, "result": result}):
            notes = (
                *notes,
                f"{shown(records.path)} cannot be written, so this result will not be known as finished.",
            )
        return Outcome(job, "restored", done=done, notes=notes, reason=done.reason)

    def _import_engine(self) -> None:
        """Before a photo is read: importing goes wrong if threads import other things meanwhile."""
        import_engine(self._engine())
        self._imported = True

    def _engine(self) -> Name:
        folder = None if self.model is None else model_folder(self.model)
        return choose_engine(folder, self.device, self.precision, self.engine)

    def _load(self, name: str) -> RestorationPipeline:
        if name not in self._loaded:
            self._loaded[name] = load(name, all_devices(self.device), self.precision, engine=self.engine)
        return self._loaded[name]

    def _models(
        self, job: Job, relay: Relay, watch: Watch | None, before_writing: Callable[[], object]
    ) -> RestorationPipeline | Callable[[str], RestorationPipeline]:
        """The model that was named, or a function that loads the one of a task at its first use."""

        def get(name: str) -> RestorationPipeline:
            # one that is loaded needs not wait for the main thread, where another photo may be restored
            pipeline = self._loaded.get(name) or relay.call(self._load, name)
            samples = self.settings.get("samples", 1)
            return Relayed(
                pipeline, relay, None if watch is None else partial(watch, job), samples, before_writing
            )

        if self.model is None:
            return get
        return get(self.model)


def _failed(job: Job, error: Exception) -> Outcome:
    """One photo must not cost a night's work, whatever is wrong with it or with this program."""
    if isinstance(error, UcdirError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = f"{shown(job.photo)}: the memory is full; close other programs, or raise its limit."
    else:
        text = f"{shown(job.photo)}: {fault(error)}"
    return Outcome(job, "failed", text)
