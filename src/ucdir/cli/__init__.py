"""The command line: each command in a file of its own."""

import ucdir.cli.environment  # isort: skip # noqa: F401

from ucdir.cli.ablate import ablate
from ucdir.cli.app import app, data_app, main
from ucdir.cli.convert import convert
from ucdir.cli.data_check import check
from ucdir.cli.degrade import degrade
from ucdir.cli.evaluate import evaluate
from ucdir.cli.export import export
from ucdir.cli.info import info
from ucdir.cli.inspect import inspect
from ucdir.cli.restore import restore
from ucdir.cli.serve import serve
from ucdir.cli.train import train

for command in (restore, inspect, train, evaluate, ablate, convert, export, degrade, serve, info):
    app.command()(command)
data_app.command("check")(check)
app.add_typer(data_app, name="data")

__all__ = ["app", "main"]
