"""The command line: restore, train, evaluate, ablate, convert, degrade, data check, info."""

from ucdir.cli.ablate import ablate
from ucdir.cli.app import app, data_app, main
from ucdir.cli.evaluate import evaluate
from ucdir.cli.info import info
from ucdir.cli.restore import restore
from ucdir.cli.train import convert, degrade, train

for command in (restore, train, evaluate, ablate, convert, degrade, info):
    app.command()(command)
app.add_typer(data_app, name="data")

__all__ = ["app", "main"]
