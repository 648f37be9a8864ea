"""What `ucdir restore` says of each photo, as text or JSON, and how the program ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from ucdir.cli.app import named, say, task_text

if TYPE_CHECKING:
    from ucdir.workflows.batch import Outcome


class Printer:
    """Prints what became of each photo, and knows the exit status."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.several = False  # whether several photos were asked for
        self.failures: list[str] = []
        self.some_done = False
        self.unprinted = False

    def print(self, outcome: Outcome) -> None:
        """Print one line on stdout; errors and notes on stderr."""
        if outcome.error is not None:
            self.fail(outcome.error)
        else:
            self.some_done = True
            for note in outcome.notes[: -1 if outcome.status == "unchanged" else None]:
                self._say(f"note: {note}", err=True)
        if self.as_json:
            self._say(json.dumps(_as_dict(outcome)))
        elif outcome.error is None:
            self._say(_as_text(outcome))

    def problem(self, error: str) -> None:
        """Print what is wrong with an argument, which gives no photo."""
        self.fail(error)
        if self.as_json:
            self._say(json.dumps({"input": None, "output": None, "status": "failed", "error": error}))

    def fail(self, error: str) -> None:
        """Print an error."""
        self.failures.append(error)
        self._say(f"ucdir: {error}", err=True)

    def close(self) -> None:
        """List what failed, if several photos were asked for, and end the program unless all went well.

        Raises:
            typer.Exit: with 1 if some failed or a line could not be printed, 2 if nothing was done.
        """
        if self.several and self.failures[0 if self.some_done else 1 :]:
            count = len(self.failures)
            self._say(
                f"ucdir: {count} failed{'' if self.some_done else ', and nothing could be done'}:", err=True
            )
            for failure in self.failures:
                self._say(f"  {failure}", err=True)
        if self.failures or self.unprinted:
            raise typer.Exit(2 if self.failures and not self.some_done else 1)

    def _say(self, text: str, *, err: bool = False) -> None:
        self.unprinted |= not say(text, err=err)


def _as_text(outcome: Outcome) -> str:
    job, done = outcome.job, outcome.done
    if outcome.status == "unchanged":
        return outcome.notes[-1]
    if done is None:
        what = (
            "finished already"
            if outcome.status == "finished"
            else f"would be restored, {task_text(outcome.task, outcome.reason)}"
        )
        return f"{job.photo}: {what} -> {job.output}"
    return (
        f"{job.photo}: {done.width}x{done.height}, {task_text(done.task, outcome.reason)}, {named(done.scalars)}"
        f"{done.steps} step{'s' * (done.steps != 1)}, {done.seconds:.1f} s -> {done.output}"
    )


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    done = outcome.done
    return {
        "input": str(outcome.job.photo),
        "output": None if outcome.status == "unchanged" else str(outcome.job.output),
        "status": outcome.status,
        "task": outcome.task if done is None else done.task,
        "reason": outcome.reason,
        "seed": outcome.job.seed,
        "scalars": None if done is None else done.scalars,
        "width": None if done is None else done.width,
        "height": None if done is None else done.height,
        "steps": None if done is None else done.steps,
        "seconds": None if done is None else round(done.seconds, 3),
        "notes": list(outcome.notes),
        "error": outcome.error,
    }
