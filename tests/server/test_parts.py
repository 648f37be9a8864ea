"""Parts of the server that need no server."""

import asyncio

import pytest
from starlette.exceptions import HTTPException

from ucdir.errors import ConfigError, DeviceError, ImageError, OutputError
from ucdir.server import jobs as module
from ucdir.server.fields import arguments, fields
from ucdir.server.formats import FORMATS, accepted, ranked
from ucdir.server.jobs import Job, Jobs, StoppedError
from ucdir.server.metrics import Metrics
from ucdir.server.refusals import refusal
from ucdir.server.settings import Settings
from ucdir.tasks.scalars import SCALARS


@pytest.mark.parametrize(
    ("header", "kind", "expected"),
    [
        ("", "JPEG", "image/jpeg"),
        ("*/*", "GIF", "image/png"),
        ("image/*", "RAW", "image/png"),
        ("image/*", "AVIF", "image/avif"),
        ("image/webp", "JPEG", "image/webp"),
        ("image/webp, image/png", "JPEG", "image/webp"),
        ("image/webp;q=0.5, image/png", "JPEG", "image/png"),
        ("IMAGE/JPG ; Q=1.0", "PNG", "image/jpeg"),
        ("image/webp;q=0.2, */*;q=0.9", "TIFF", "image/tiff"),
        ("*/*, image/jpeg;q=0", "JPEG", "image/png"),
        ("*/*, image/jpeg;q=0, image/png;q=0", "JPEG", "image/webp"),
        ("text/html, image/svg+xml, image/png;q=nonsense", "JPEG", "image/png"),
        ("image/gif", "GIF", None),
        ("image/png;q=0", "PNG", None),
        ("nonsense", "PNG", None),
        (", ".join(["*/*", *(f"{kind};q=0" for kind in FORMATS)]), "PNG", None),
    ],
)
def test_accept(header, kind, expected):
    types = accepted(header)
    assert (ranked(types, kind)[0] if types else None) == expected


@pytest.mark.parametrize(
    ("header", "kind", "expected"),
    [
        ("image/jpeg, image/webp;q=0.5", "PNG", ["jpeg", "webp"]),
        (
            "image/webp;q=0.2, */*;q=0.9, image/bmp;q=0",
            "TIFF",
            ["tiff", "png", "jpeg", "avif", "x-adobe-dng", "webp"],
        ),
        ("image/*", "BMP", ["bmp", "png", "jpeg", "webp", "tiff", "avif", "x-adobe-dng"]),
        ("image/jpeg", "PNG", ["jpeg"]),
    ],
)
def test_what_the_best_format_cannot_hold_gets_the_next(header, kind, expected):
    assert ranked(accepted(header), kind) == [f"image/{one}" for one in expected]


def test_fields_are_those_of_the_command_line():
    known = fields(["a", "b"])
    given = {"task": "auto", "model": "b", "seed": "7", "fidelity": ".5", "steps": "3", "samples": "2"}
    more = {
        "consistent": "true",
        "brighten": "1e1",
        "raw_size": "half",
        "exposure_ratio": "3",
        "jpeg_quality": "10",
        "gain": "2.5",
    }
    assert arguments(given | more, known) == {
        "task": "auto", "model": "b", "seed": 7, "fidelity": 0.5, "steps": 3, "samples": 2, "consistent": True,
        "brighten": 10.0, "raw_size": "half", "scalars": {"jpeg_quality": 10.0, "exposure_ratio": 3.0, "gain": 2.5},
    }  # fmt: skip
    assert set(SCALARS) <= set(known)
    assert arguments({"brighten": "file"}, known)["brighten"] == "file"
    for name, text in [
        *(("seed", text) for text in ("", "1.0", " 1", "٣", "-0", "1" * 30)),
        *(("fidelity", text) for text in ("", "inf", "NaN", "1_0", "0x1", " 1", "1 ", "1e999", "٣", "--1")),
        ("brighten", "Auto"), ("exposure_ratio", "auto"), ("consistent", "True"), ("raw_size", "2"),
        ("model", "c"), ("model", ""), ("x", "1"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=name):
            arguments({name: text}, known)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImageError("/a/b is damaged."), 422),
        (OutputError("/a/b cannot hold it."), 422),
        (DeviceError("/a/b: memory."), 503),
        (MemoryError(), 503),
        (OSError(28, "No space left on device"), 507),
        (OSError(13, "Permission denied"), 500),
        (ZeroDivisionError("/a/b"), 500),
    ],
)
def test_statuses_of_errors(error, status):
    try:
        raise error
    except Exception as raised:  # noqa: BLE001
        answer = refusal(raised, {"/a/b": "the image"})
    assert answer.status_code == status
    assert "/a/b" not in answer.detail
    assert answer.detail.endswith(".")


def test_a_full_disk_is_told_from_a_format_that_does_not_fit():
    error = OutputError("x")
    error.__cause__ = OSError(28, "No space left on device")
    assert refusal(error, {}).status_code == 507


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_the_machine_itself_needs_no_token(host):
    assert host in Settings(host).hosts


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "localhost.evil.example", ""])  # noqa: S104
def test_addresses_that_others_reach_need_a_token(host):
    with pytest.raises(ConfigError, match="need a token"):
        Settings(host)
    assert Settings(host, token="a" * 20).hosts is None


def test_the_queue_is_first_come_first_served_and_bounded():
    async def play():
        jobs, done = Jobs(2, 100.0, Metrics()), []

        async def stays():
            await asyncio.Event().wait()

        async def one(job):
            await jobs.run(job, lambda: done.append(job.name), stays())
            jobs.leave(job)

        entered = [jobs.enter(name * 16) for name in "abc"]
        with pytest.raises(HTTPException) as full:
            jobs.enter("d" * 16)
        assert full.value.status_code == 429
        with pytest.raises(HTTPException) as twice:
            jobs.enter("a" * 16)
        assert twice.value.status_code == 409
        tasks = [asyncio.create_task(one(job)) for job in (entered[2], entered[0], entered[1])]
        await asyncio.sleep(0)
        assert [jobs.before(job) for job in entered] == [1, 2, 0]
        await asyncio.gather(*tasks)
        assert done == ["c" * 16, "a" * 16, "b" * 16]
        assert len(jobs) == 0
        jobs.close()

    asyncio.run(play())


def test_who_leaves_while_waiting_is_not_worked_on():
    async def play():
        jobs, done = Jobs(2, 100.0, Metrics()), []

        async def leaves():
            return

        job = jobs.enter(None)
        async with jobs._turn:
            with pytest.raises(StoppedError):
                await jobs.run(job, lambda: done.append(1), leaves())
        assert (done, job.stopped) == ([], True)
        jobs.close()

    asyncio.run(play())


def test_progress_says_what_is_left(monkeypatch):
    job = Job("a", time_limit=100)
    job.state, job.began = "working", 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: 1006.0)
    job.watch(1, 4, 1, 2)  # one and a half of four passes, in 6 s
    assert job.progress(3) == {
        "state": "working", "step": 1, "steps": 3, "tile": 1, "tiles": 2, "fraction": 0.375, "seconds_left": 10.0,
    }  # fmt: skip
    job.state = "waiting"
    assert job.progress(3) == {"state": "waiting", "before": 3}


def test_before_a_job_are_those_that_came_earlier():
    jobs = Jobs(queue=4, time_limit=9, metrics=Metrics())
    entered = [jobs.enter(name) for name in "abcd"]
    for place, job in enumerate(entered[:3], start=1):
        job.state, job.place = "waiting", place
    entered[0].state = "working"
    assert [jobs.before(job) for job in entered[:3]] == [0, 1, 2]
    jobs.leave(entered[0])
    assert [jobs.before(job) for job in entered[1:3]] == [0, 1]
    jobs.close()
