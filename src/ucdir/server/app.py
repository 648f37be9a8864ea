"""The addresses of the server. docs/serve.md describes them for people, `openapi.py` for programs."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import ucdir
from ucdir.errors import OutputError
from ucdir.images import is_format, read, write
from ucdir.images.large import at_most, large_images
from ucdir.images.paths import shown
from ucdir.images.read import identify
from ucdir.limits import MAX_FORM_BYTES, MAX_IMAGE_PIXELS, MAX_PROGRESS_STREAMS
from ucdir.memory import trim_heap
from ucdir.server.fields import arguments, fields
from ucdir.server.folder import request_folder
from ucdir.server.formats import FORMATS, accepted, ranked
from ucdir.server.guard import Guard
from ucdir.server.inspection import inspect
from ucdir.server.jobs import Job, Jobs, StoppedError
from ucdir.server.metrics import CONTENT_TYPE, Metrics, resident_bytes
from ucdir.server.models import Models
from ucdir.server.openapi import JOB_NAME, description
from ucdir.server.refusals import problem_response, refusal, renamed
from ucdir.server.settings import BUILT_PAGE, Settings
from ucdir.server.static_files import Page
from ucdir.server.uploads import ClientLeftError, Form, body, check_length
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import SCALARS
from ucdir.workflows.restore import RestoredPhoto, restore

RESULT_HEADER: Final = "X-Ucdir-Result"
SECONDS_TO_FIND_A_JOB: Final = 10.0
"""How long a request for progress waits for the request that it is about."""
SECONDS_BETWEEN_EVENTS: Final = 0.2
SECONDS_BETWEEN_COMMENTS: Final = 15.0

logger = logging.getLogger(__name__)


class App:
    """The application, and what its requests share.

    Args:
        settings: of the server.
        models: checked.
        folder: for uploads, private.
    """

    def __init__(self, settings: Settings, models: Models, folder: Path) -> None:
        self.settings, self.models, self.folder = settings, models, folder
        self.metrics = Metrics()
        self.jobs = Jobs(settings.queue, settings.time_limit, self.metrics)
        self.fields = fields(models.names)
        self.page = Page(settings.page or (BUILT_PAGE if (BUILT_PAGE / "index.html").is_file() else None))
        self.streams = 0
        self.openapi = description(self.fields, settings)
        self.metrics.gauges = {
            "jobs": ("Requests that are received, wait, or are worked on.", lambda: len(self.jobs)),
            "queue_limit": ("How many may wait.", lambda: settings.queue),
            "resident_memory_bytes": ("Memory of the server that is in RAM.", resident_bytes),
        }
        routes = [
            Route("/v1/restore", Upload(self, "restore", self._restore), methods=["POST"]),
            Route("/v1/inspect", Upload(self, "inspect", self._inspect), methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/v1/progress/{id}", self._progress),
            Route("/healthz", self._health),
            Route("/metrics", self._metrics),
            Route("/openapi.json", self._openapi),
        ]
        self.asgi = Starlette(
            routes=routes, middleware=[Middleware(Guard, settings=settings, metrics=self.metrics)],
            exception_handlers={HTTPException: problem_response},
        )  # fmt: skip
        self.asgi.router.redirect_slashes = False
        self.asgi.router.default = self.page

    # ------------------------------------------------------------------------------------------------------ questions

    async def _health(self, _: Request) -> Response:
        self.jobs.refuse_if_stopping()
        return JSONResponse({"status": "ok"})

    async def _metrics(self, _: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(self.openapi)

    async def _models(self, _: Request) -> Response:
        defaults = {name: self.models.of_task(config.task) for name, config in self.models.configs.items()}
        return JSONResponse(
            {
                "version": ucdir.__version__,
                "models": [
                    {
                        "name": name, "task": config.task, "steps": config.steps, "default": defaults[name] == name,
                        "scalars": list(TASKS[config.task].scalars) if config.task in TASKS else [],
                    }
                    for name, config in self.models.configs.items()
                ],
                "tasks": {name: kind.help for name, kind in TASKS.items()},
                "scalars": {
                    name: {"help": s.help, "unit": s.unit, "minimum": s.range[0], "maximum": s.range[1]}
                    for name, s in SCALARS.items()
                },
                "formats": list(FORMATS),
                "max_upload_bytes": self.settings.max_upload,
                "max_pixels": MAX_IMAGE_PIXELS,
            }
        )  # fmt: skip

    async def _progress(self, request: Request) -> Response:
        name = request.path_params["id"]
        if not re.fullmatch(JOB_NAME, name):
            raise HTTPException(404, "an X-Request-ID has 16 to 64 letters, digits, - or _.")
        if self.streams >= MAX_PROGRESS_STREAMS:
            raise HTTPException(429, "there are too many streams of progress.", {"Retry-After": "5"})
        self.streams += 1
        try:
            for _ in range(int(SECONDS_TO_FIND_A_JOB / SECONDS_BETWEEN_EVENTS)):
                if self.jobs.find(name) or self.jobs.stopping or await request.is_disconnected():
                    break
                await asyncio.sleep(SECONDS_BETWEEN_EVENTS)
            job = self.jobs.find(name)
        finally:
            self.streams -= 1
        if job is None:
            raise HTTPException(404, "there is no request of this X-Request-ID.")
        return StreamingResponse(
            self._events(job), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def _events(self, job: Job) -> AsyncIterator[str]:
        self.streams += 1
        try:
            last, silent = "", 0.0
            while not job.is_over:
                said = json.dumps(job.progress(self.jobs.before(job)))
                silent += SECONDS_BETWEEN_EVENTS
                if said != last:
                    yield f"event: progress\ndata: {said}\n\n"
                    last, silent = said, 0.0
                elif silent > SECONDS_BETWEEN_COMMENTS:
                    yield ": still there\n\n"
                    silent = 0.0
                await asyncio.sleep(SECONDS_BETWEEN_EVENTS)
            yield f"event: {job.state}\ndata: {json.dumps(job.progress(0))}\n\n"
        finally:
            self.streams -= 1

    # ---------------------------------------------------------------------------------------------------------- photos

    def _restore(self, job: Job, form: Form, headers: Headers) -> Work:
        """Checks what is asked for; what the worker is to do, and how its result is sent."""
        types = accepted(",".join(headers.getlist("accept")))
        if not types:
            raise HTTPException(
                406, f"none of the formats asked for is written; accept {', '.join(FORMATS)}."
            )
        given = arguments(form.values, self.fields)
        photo = form.photo
        assert photo is not None  # noqa: S101 (for the type checker)
        results = {photo.with_name(f"restored{FORMATS[kind]}"): kind for kind in ranked(types, form.kind)}
        names = {
            shown(photo): "the image",
            **dict.fromkeys(map(shown, results), "the result"),
            "with --task (": "in the field task (",
        }

        def work() -> tuple[RestoredPhoto, Path]:
            job.check()
            model, samples = given.pop("model", None), given.get("samples", 1)
            try:
                pipeline = self.models.pipeline(model, job.watch, samples)

                def restored(result: Path) -> RestoredPhoto:
                    done: RestoredPhoto = restore(photo, result, pipeline=pipeline, **given)
                    if done.output is None:  # a client gets an image all the same
                        done = replace(done, notes=(*done.notes, *_as_it_is(photo, result)))
                    return done

                with at_most(MAX_IMAGE_PIXELS):
                    return _first_that_holds(list(results), restored)
            finally:
                trim_heap()

        def respond(found: tuple[RestoredPhoto, Path]) -> Response:
            done, result = found
            kind = results[result]
            self.metrics.restored(done.seconds)
            notes = [renamed(note, names) for note in done.notes]
            said = {
                "task": done.task, "scalars": done.scalars, "steps": done.steps, "seconds": round(done.seconds, 3),
                "width": done.width, "height": done.height, "notes": notes,
            }  # fmt: skip
            job.outcome = said
            sent = {
                "Content-Disposition": f'attachment; filename="restored{FORMATS[kind]}"',
                "Vary": "Accept", RESULT_HEADER: _header(said), "X-Request-ID": job.name,
            }  # fmt: skip
            return FileResponse(result, headers=sent, media_type=kind)

        return Work(work, respond, names)

    def _inspect(self, job: Job, form: Form, _: Headers) -> Work:
        given = arguments(form.values, self.fields)
        photo = form.photo
        assert photo is not None  # noqa: S101 (for the type checker)
        known = ("model", "task", "scalars", "brighten", "raw_size")
        chosen = {name: value for name, value in given.items() if name in known}
        names = {shown(photo): "the image"}

        def work() -> dict[str, Any]:
            job.check()
            return inspect(
                photo,
                model_of=self.models.for_pretrained,
                task_of=lambda name: self.models.configs[name].task,
                **chosen,
            )

        def respond(found: dict[str, Any]) -> Response:
            text = renamed(json.dumps(found), {json.dumps(path)[1:-1]: name for path, name in names.items()})
            return Response(text, media_type="application/json")

        return Work(work, respond, names)


class Work:
    """What the worker thread does for a request, and how the result is sent."""

    def __init__(
        self,
        work: Callable[[], Any],
        respond: Callable[[Any], Response],
        names: Mapping[str, str],
    ) -> None:
        self.work, self.respond, self.names = work, respond, names


class Upload:
    """An ASGI application: receives a photo into a folder of its own, has it worked on in its turn, and answers."""

    def __init__(self, app: App, name: str, begin: Callable[[Job, Form, Headers], Work]) -> None:
        self.app, self.name, self.begin = app, name, begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        jobs, headers = self.app.jobs, Headers(scope=scope)
        check_length(headers, self.app.settings.max_upload + MAX_FORM_BYTES)
        name = headers.get("x-request-id")
        if name is not None and not re.fullmatch(JOB_NAME, name):
            raise HTTPException(400, "an X-Request-ID has 16 to 64 letters, digits, - or _.")
        job = jobs.enter(name)
        try:
            with request_folder(self.app.folder) as folder:
                response = await self._response(job, folder, headers, receive)
                await response(scope, receive, send)
        except ClientLeftError:
            job.state = "cancelled"
        except OutputError as error:
            logger.error("%s: %s", self.name, error)
            raise refusal(error, {}) from error
        except HTTPException as error:
            if not job.is_over:
                job.state, job.outcome = "failed", {"status": error.status_code, "detail": error.detail}
            raise
        finally:
            jobs.leave(job)

    async def _response(self, job: Job, folder: Path, headers: Headers, receive: Receive) -> Response:
        app, work = self.app, None
        try:
            with Form(headers, folder) as form:
                pieces = body(receive, app.settings.max_upload + MAX_FORM_BYTES)
                await app.jobs.receive(job, form.read(pieces, app.metrics.receive))
            work = self.begin(job, form, headers)
            result = await app.jobs.run(job, work.work, _left(receive))
        except StoppedError:
            outcome = "late" if job.late else "stopped" if app.jobs.stopping else "cancelled"
            app.metrics.jobs[self.name, outcome] += 1
            if job.late:
                limit = app.settings.time_limit
                raise HTTPException(
                    422,
                    f"this took longer than {limit:g} s; ask for fewer steps or samples, or send a smaller photo.",
                ) from None
            app.jobs.refuse_if_stopping()
            raise ClientLeftError from None
        except (HTTPException, ClientLeftError):
            raise
        except Exception as error:
            answer = refusal(error, {} if work is None else work.names)
            app.metrics.jobs[self.name, "refused" if answer.status_code < 500 else "failed"] += 1
            if answer.status_code >= 500:
                logger.error("%s: %s", self.name, answer.detail)
            raise answer from error
        job.state = "done"
        app.metrics.jobs[self.name, "done"] += 1
        return work.respond(result)


def _first_that_holds(
    results: Sequence[Path], restored: Callable[[Path], RestoredPhoto]
) -> tuple[RestoredPhoto, Path]:
    """What is restored to the first of these files whose format holds it; the error of the first, if none does."""
    refused: OutputError | None = None
    for result in results:
        try:
            return restored(result), result
        except OutputError as error:
            if error.__cause__ is not None:  # of the disk, or of an encoder after all the work
                raise
            refused = refused or error
    assert refused is not None  # noqa: S101 (there is a result)
    raise refused


def _as_it_is(photo: Path, result: Path) -> tuple[str, ...]:
    """Give a photo back that nothing is wrong with, byte for byte where its format is the one asked for."""
    with large_images(result.parent):
        if is_format(result.suffix, identify(photo)[0]):
            shutil.copyfile(photo, result)
            return ()
        found = read(photo)
        return (*found.warnings, *write(found, result))


async def _left(receive: Receive) -> None:
    """Until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _header(said: dict[str, Any]) -> str:
    """JSON for a header: ASCII, and not longer than clients take."""
    text = json.dumps(said)
    return text if len(text) <= 4000 else json.dumps({**said, "notes": ["see the progress of the request."]})
