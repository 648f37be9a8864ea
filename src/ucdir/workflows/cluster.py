"""Many photos on many machines: a Ray cluster, whose nodes each restore some of them.

Photos are the rows of a dataset of `ray.data`, each worker is an actor that holds the models, and what became of a
photo is a row again. Photos, results and their records are where all nodes see them: on a disk that they share, or in
an object store. A result appears whole or not at all and is recorded there, so what a lost node had not finished is
done again, and what it had finished is skipped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import ucdir
from ucdir.errors import ConfigError, DeviceError, UcdirError, reason
from ucdir.extras import optional_module
from ucdir.images.paths import shown
from ucdir.memory import as_text, bytes_of
from ucdir.model.pretrained import list_models, model_digest, model_folder
from ucdir.workflows.batch import Batch, Job, Outcome, Report
from ucdir.workflows.restore import RestoredPhoto
from ucdir.workflows.stores import is_stored, place

WORKER_BYTES: Final = 1_500_000_000
"""Main memory that is reserved for a worker, unless --max-memory says another: a photo of 12 megapixels takes less."""
ATTEMPTS: Final = 3
"""How often the workers of a photo may be lost before it counts as what kills them."""
SECONDS_TO_ANSWER: Final = 120.0
"""For a node to start a process and say what it has."""
MAX_TASKS: Final = 100_000
HTTP_2: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a connection begins: the preface and an empty frame of settings."""


@dataclass
class Throughput:
    """How fast a cluster was.

    Args:
        workers: how many there were.
        photos: that were restored.
        megapixels: of them.
        seconds: from the first row to the last.
        worker_seconds: that single workers took for these photos, added up.
        lost: how many photos were done again as their worker was lost.
    """

    workers: int = 0
    photos: int = 0
    megapixels: float = 0.0
    seconds: float = 0.0
    worker_seconds: float = 0.0
    lost: int = 0

    def __str__(self) -> str:
        if not self.photos:
            return "no photo had to be restored, or none could be"
        rate, alone = self.megapixels / self.seconds, self.megapixels / self.worker_seconds
        again = f"; {self.lost} done again, as their worker was lost" if self.lost else ""
        return (
            f"{self.photos} restored, {self.megapixels:.1f} megapixels in {self.seconds:.1f} s: {rate:.3g} megapixels/s"
            f" with {self.workers} workers, {rate / alone:.2f} times one of them ({alone:.3g}){again}"
        )


def run_on_cluster(
    batch: Batch, jobs: Sequence[Job], report: Report, address: str, threads: int | None = None
) -> Throughput:
    """Do the jobs on a cluster, and report each outcome, in the order in which they end.

    Args:
        batch: how.
        jobs: no two with one output.
        report: called with each outcome.
        address: `HOST:PORT` of the cluster, "auto" for the one that this machine belongs to, or "local" for one of this
            machine's cores alone.
        threads: how many photos each worker reads, restores or writes at once; None: one, or with a GPU as many as keep
            it busy.

    Raises:
        DeviceError: the cluster cannot be reached, or a node cannot do the work.
        UcdirError: nothing can be done, as in `Batch.run`.
        ExtraError: ray is not installed.
    """
    batch.check_model()
    batch.tidy(jobs)
    if batch.model is not None and batch.model not in list_models():
        batch = replace(batch, model=os.path.abspath(batch.model))  # noqa: PTH100 (nodes run in folders of their own)
    known = {job._replace(photo=job.photo.absolute(), output=job.output.absolute()): job for job in jobs}

    def report_as_named(outcome: Outcome) -> None:
        job = known[outcome.job]
        done = None if outcome.done is None else replace(outcome.done, output=job.output)
        report(replace(outcome, job=job, done=done))

    with _connected(address) as ray:
        jobs = list(known)
        on_gpu = _check_nodes(ray, batch, jobs)
        workers = _count_workers(ray, batch, on_gpu=on_gpu)
        made = {
            folder
            for job in jobs
            if not is_stored(job.output)
            for folder in job.output.parents
            if not os.path.lexists(folder)
        }
        try:
            return _run(ray, batch, jobs, report_as_named, workers, threads, on_gpu=on_gpu)
        except ray.exceptions.RayError as error:
            raise DeviceError(
                f"--ray {address}: the cluster was lost ({reason(error):.150}); the same command goes on with the rest."
            ) from None
        finally:
            for folder in sorted(made, reverse=True):
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()


# -------------------------------------------------------------------------------------------------------- the cluster


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """The module ray, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or ray sends figures to its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = optional_module("ray", "cluster", "--ray")
    optional_module("ray.data", "cluster", "--ray")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray._private.worker.print_to_stdstream = lambda *_, **__: (
        None
    )  # would print of lost nodes among our lines
    if address not in ("auto", "local"):
        _check_address(address)
    before = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": 256 << 20}
    try:
        with warnings.catch_warnings(action="ignore"):
            ray.init(address=address, **options)
    except ConnectionError as error:
        if address == "auto":
            raise DeviceError(
                "--ray auto: this machine belongs to no cluster; run ray start --head, name HOST:PORT of one, or "
                "choose local."
            ) from None
        raise DeviceError(f"--ray {address}: the cluster cannot be reached ({reason(error)}).") from None
    except (RuntimeError, ValueError, OSError, TimeoutError) as error:
        raise DeviceError(f"--ray {address}: the cluster cannot be used ({reason(error)}).") from None
    try:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, before)  # ray has one of its own
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Refuse an address where nothing listens that could be Ray, which would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ConfigError(f"--ray {address:.100}: is no address; write HOST:PORT, auto or local.")
    try:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(HTTP_2)  # of gRPC; its server answers with settings, too
            if connection.recv(9)[3:4] != b"\x04":
                raise ConnectionError("what listens there is not Ray")
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"--ray {address:.100}: the cluster cannot be reached ({reason(error)}); check the address, and that "
            "ray start --head runs there."
        ) from None


def _check_nodes(ray: Any, batch: Batch, jobs: Sequence[Job]) -> bool:
    """Whether the work is done on GPUs.

    Raises:
        DeviceError: a node lacks what the work needs.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    model = None if batch.model is None else (batch.model, model_digest(model_folder(batch.model)))
    job = jobs[0]
    urls = [str(path) for path in job[:2] if is_stored(path)]
    file = None if is_stored(job.photo) else str(job.photo)
    folder = None if is_stored(job.output) else str(job.output.parent)
    look: Callable[..., Any] = ray.remote(num_cpus=0, max_retries=0)(_looker())
    asked = []
    for node in ray.nodes():
        if node["Alive"]:
            name = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = look.options(scheduling_strategy=strategy).remote(  # type: ignore[attr-defined]
                ucdir.__version__, model, urls, file, folder, (batch.device, batch.precision, batch.engine)
            )
            asked.append((name, answer))
    engines = set()
    for name, answer in asked:
        try:
            problem, engine = ray.get(answer, timeout=SECONDS_TO_ANSWER)
        except ray.exceptions.RayError as error:
            problem, engine = f"does not run the work ({reason(error):.150})", ""
        if problem:
            raise DeviceError(f"{name}: {problem}; mend it, or take the node out of the cluster.")
        engines.add(engine)
    on_gpu = batch.device.split(":")[0] == "cuda" or (
        batch.device == "auto" and "GPU" in ray.cluster_resources()
    )
    return on_gpu and "onnx" not in engines


def _needed(batch: Batch) -> int:
    limit = batch.options.get("max_memory")
    return WORKER_BYTES if limit is None else bytes_of(limit)


def _count_workers(ray: Any, batch: Batch, *, on_gpu: bool) -> int:
    """How many workers the nodes hold, each with a core or GPU and its memory.

    Raises:
        DeviceError: none; ray would wait for a node that does.
    """
    kind, needed = ("GPU", "GPU") if on_gpu else ("CPU", "core")
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    memory = _needed(batch)
    workers = sum(int(min(node.get(kind, 0), node.get("memory", 0) // memory)) for node in nodes)
    if not workers:
        raise DeviceError(
            f"no node of the cluster has a {needed} and {as_text(memory)} of memory for a worker; set --max-memory "
            "lower, or add nodes."
        )
    return workers


def _looker() -> Callable[..., tuple[str, str]]:
    """What a node runs to say what it lacks; of the standard library alone, as this package may be missing there."""

    def look(
        version: str,
        model: tuple[str, str] | None,
        urls: list[str],
        file: str | None,
        folder: str | None,
        engine: tuple[str, str, str],
    ) -> tuple[str, str]:
        import os

        problem = ""
        try:
            import ucdir
            from ucdir.engines import choose_engine
            from ucdir.model.pretrained import model_digest, model_folder
            from ucdir.workflows.stores import place
        except ImportError as error:
            return f"the package ucdir is missing there ({error}); run: pip install ucdir=={version}", ""
        if ucdir.__version__ != version:
            problem = f"it has ucdir {ucdir.__version__}, and {version} is wanted"
        if file is not None and not os.path.exists(file):  # noqa: PTH110
            problem = f"it does not see {file}; share the folder with all nodes, or use an object store"
        while folder is not None and not os.path.exists(folder):  # noqa: PTH110
            folder = os.path.dirname(folder)  # noqa: PTH120
        if folder is not None and not os.access(folder, os.W_OK | os.X_OK):
            problem = f"it may not write {folder}"
        try:
            for url in urls:
                place(url)
            found = None if model is None else model_folder(model[0])
            if model is not None and found is not None and model_digest(found) != model[1]:
                problem = f"its model {model[0]} is another one than here"
            return problem, choose_engine(found, *engine)
        except ucdir.UcdirError as error:
            return str(error).rstrip("."), ""

    return look


# ----------------------------------------------------------------------------------------------------------- the work


def _run(
    ray: Any,
    batch: Batch,
    jobs: Sequence[Job],
    report: Report,
    workers: int,
    threads: int | None,
    *,
    on_gpu: bool,
) -> Throughput:
    found = Throughput(workers)
    attempts = dict.fromkeys(jobs, 0)
    began = time.perf_counter()
    while attempts:
        seen = 0
        for outcome in _outcomes(ray, batch, list(attempts), found.workers, threads, on_gpu=on_gpu):
            if attempts.pop(outcome.job, None) is None:
                continue  # done again, and reported already
            seen += 1
            if outcome.done is not None:
                found.photos += 1
                found.megapixels += outcome.done.width * outcome.done.height / 1e6
                found.worker_seconds += outcome.done.seconds
            report(outcome)
        for job in attempts:
            attempts[job] += 1
        if not seen and not any(node["Alive"] for node in ray.nodes()):
            raise DeviceError("all nodes of the cluster were lost; the same command goes on with the rest.")
        found.lost += sum(number < ATTEMPTS for number in attempts.values())
        for job in [job for job, number in attempts.items() if number == ATTEMPTS]:
            del attempts[job]
            text = f"its worker was lost {ATTEMPTS} times; give the nodes more memory, or set --max-memory"
            report(Outcome(job, "failed", f"{shown(job.photo)}: {text}."))
    found.seconds = time.perf_counter() - began
    return found


def _outcomes(
    ray: Any, batch: Batch, jobs: Sequence[Job], workers: int, threads: int | None, *, on_gpu: bool
) -> Iterator[Outcome]:
    """What became of the jobs whose workers were not lost, as they end.

    An actor that is lost is not started again in its place, where its tasks would wait for a node that never comes
    back: they are left out, and done in the next round on the nodes that there are.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1
    context.max_consecutive_actor_init_deaths = -1
    context.execution_no_progress_timeout_s = -1  # one photo may take long
    at_once = threads or (8 if on_gpu else 1)
    tasks = min(-(-len(jobs) // (1 if at_once == 1 else 4 * at_once)), MAX_TASKS)
    dataset = ray.data.from_items([_row(job) for job in jobs], override_num_blocks=tasks)
    with warnings.catch_warnings(action="ignore"):  # ray is going to take another way to say max_restarts
        results = dataset.map_batches(
            _Worker, fn_constructor_args=(batch, threads), batch_size=None, zero_copy_batch=False,
            compute=ray.data.ActorPoolStrategy(min_size=1, initial_size=workers, max_size=workers),
            num_cpus=None if on_gpu else 1, num_gpus=1 if on_gpu else None,
            memory=_needed(batch), max_restarts=0,
        )  # fmt: skip
    for rows in results.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        for values in zip(*rows.values(), strict=True):
            row = dict(zip(rows, values, strict=True))
            if row["status"] == "stopped":
                raise UcdirError(str(row["error"]))
            yield _outcome(row)


class _Worker:
    """An actor: it holds the models, and restores the photos of one task after the other."""

    def __init__(self, batch: Batch, threads: int | None) -> None:
        self.batch, self.threads = batch, threads

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[Any]]:
        outcomes: list[Outcome] = []
        jobs = [_job(photo, output, seed) for photo, output, seed in zip(*rows.values(), strict=True)]
        try:
            self.batch.run(jobs, outcomes.append, threads=self.threads, alone=False)
        except UcdirError as error:  # nothing can be done at all
            outcomes.append(Outcome(jobs[0], "failed", f"node {socket.gethostname()}: {error}"))
            return _columns(outcomes, stopped=True)
        return _columns(outcomes)


# ----------------------------------------------------------------------------------------------------------------- rows


def _row(job: Job) -> dict[str, Any]:
    """Paths are bytes, as their names need not be UTF-8."""
    return {"photo": os.fsencode(str(job.photo)), "output": os.fsencode(str(job.output)), "seed": job.seed}


def _job(photo: bytes, output: bytes, seed: int) -> Job:
    return Job(place(os.fsdecode(photo)), place(os.fsdecode(output)), int(seed))


def _columns(outcomes: Sequence[Outcome], *, stopped: bool = False) -> dict[str, list[Any]]:
    rows = [
        {
            **_row(one.job),
            "status": one.status,
            "error": one.error or "",
            "notes": json.dumps(one.notes),
            "reason": one.reason or "",
            "done": json.dumps(None if one.done is None else asdict(one.done), default=str),
        }
        for one in outcomes
    ]
    if stopped:
        rows[-1]["status"] = "stopped"
    return {name: [row[name] for row in rows] for name in rows[0]}


def _outcome(row: dict[str, Any]) -> Outcome:
    job = _job(row["photo"], row["output"], row["seed"])
    done = json.loads(row["done"])
    if done is not None:
        done = RestoredPhoto(
            **{**done, "output": done["output"] and job.output, "notes": tuple(done["notes"])}
        )
    notes = tuple(json.loads(row["notes"]))
    return Outcome(job, row["status"], row["error"] or None, done, notes, reason=row["reason"] or None)
