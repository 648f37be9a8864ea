"""`ucdir serve`: restores photos over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import Signalled, say
from ucdir.errors import ConfigError
from ucdir.extras import optional_module
from ucdir.limits import MAX_FILE_BYTES
from ucdir.memory import bytes_of


def serve(
    host: Annotated[
        str, typer.Option(help="Address; one that others can reach needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8080,
    token: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File with the token that requests must carry. Default: UCDIR_TOKEN, if set."
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A further name that requests may use, as behind a proxy.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Folder of the built page. Default: that of the package, if it has one."),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a model of your own, taken before the pretrained one of its task."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    engine: Annotated[str, typer.Option(help="auto, torch or onnx.")] = "auto",
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory to take at most, such as 2GB. Default: what is free."),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=0, max=1000, help="Requests that may wait; further ones are answered 429.")
    ] = 8,
    max_upload: Annotated[str, typer.Option(metavar="SIZE", help="Largest photo.")] = "256MiB",
    time_limit: Annotated[
        float, typer.Option(min=1, max=1e6, help="Longest time in seconds for one photo.")
    ] = 1800.0,
    temporary: Annotated[
        Path | None, typer.Option(help="Folder for photos while they are worked on. Default: the system's.")
    ] = None,
) -> None:
    """Restore photos for programs and a page, over HTTP, until Ctrl-C."""
    optional_module("starlette", "serve", "ucdir serve")
    optional_module("uvicorn", "serve", "ucdir serve")
    optional_module("python_multipart", "serve", "ucdir serve")
    from ucdir.server.run import serve as run
    from ucdir.server.settings import Settings, read_token

    size = bytes_of(max_upload)
    if size > MAX_FILE_BYTES:
        raise ConfigError(
            f"--max-upload {max_upload:.80} is more than the {MAX_FILE_BYTES:,} bytes that ucdir opens."
        )
    if max_memory is not None:
        bytes_of(max_memory)
    settings = Settings(
        host, port, read_token(token), tuple(name.lower() for name in allowed_host or ()), page, tuple(model or ()),
        device, precision, engine, max_memory, queue, size, time_limit, temporary,
    )  # fmt: skip
    ended_by = run(settings, lambda address: say(f"{address} restores photos until Ctrl-C"))
    if ended_by is not None:
        raise Signalled(ended_by)
