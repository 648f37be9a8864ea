"""Lets each call that writes fail in turn, in each command that writes, and looks at what is left and what is said.

    python scripts/fail_writing.py                    every call, with one of four errors
    python scripts/fail_writing.py --all              with each of them, once and from then on
    python scripts/fail_writing.py --calls 4          four of each command's calls

A call fails once, or it and all that follow, as on a disk that is full. Then the old file must be as it was or the new
one whole, nothing unfinished may be left, and unless the command has done its work all the same, it must say the true
cause in a line of its own, without a traceback, and exit with a status that is not 0. Exits with 1 if not.
"""

from __future__ import annotations

import argparse
import errno
import random
from collections import Counter
from datetime import date
from pathlib import Path

import faults

CAUSES = {
    errno.ENOSPC: ("disk is full", "No space left on device"),
    errno.EIO: ("Input/output error",),
    errno.EACCES: ("may not be", "Permission denied"),
    errno.EFBIG: ("files may not be so large", "File too large"),
}
"""One of these words names the cause."""


def said(done: faults.Done, error: int) -> list[str]:
    """What is wrong with what a command said that failed."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("ucdir: ")]
    found = []
    if "Traceback" in done.stderr:
        found.append("a traceback")
    elif done.status < 0 or not lines:
        found.append(f"status {done.status} and no sentence")
    elif not any(word in line for line in lines for word in CAUSES[error]):
        found.append("another cause is named")
    return found


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, help="of each command, at random; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="commands whose names contain this")
    parser.add_argument("--all", action="store_true", help="every error at every call")
    options = parser.parse_args()
    faults.preload()
    rng = random.Random(options.seed)  # noqa: S311 (moments, no secrets)
    commands = [c for c in faults.COMMANDS if options.only in c.name]
    cases, finished, bad = Counter[str](), Counter[str](), 0
    with faults.scratch() as folder:
        bench = faults.Bench(Path(folder), [*commands, faults.NAIVE])
        work = bench.fresh(faults.NAIVE)  # the control: this must be noticed
        done = bench.run(faults.NAIVE, work, faults.armed(work, faults.FAIL_ONCE, 3, errno.ENOSPC))
        if not bench.judge(faults.NAIVE, work) or not said(done, errno.ENOSPC):
            raise SystemExit("a writer that is known to be bad was found good")
        for command in commands:
            for number in faults.sample(range(1, bench.calls[command.name] + 1), options.calls, rng):
                kinds = [
                    (error, action) for error in CAUSES for action in (faults.FAIL_ONCE, faults.FAIL_FROM)
                ]
                for error, action in kinds if options.all else [rng.choice(kinds)]:
                    work = bench.fresh(command)
                    done = bench.run(command, work, faults.armed(work, action, number, error))
                    wrong = bench.judge(command, work)
                    if done.status == 0:
                        wrong += bench.unfinished(command, work)
                        finished[command.name] += 1
                    else:
                        wrong += said(done, error)
                    cases[command.name] += 1
                    if wrong:
                        bad += 1
                        how = "on and after" if action == faults.FAIL_FROM else "at"
                        print(
                            f"{command.name}: {errno.errorcode[error]} {how} call {number}: {'; '.join(wrong)}"
                        )
                        print("    " + "\n    ".join(done.stderr.strip().splitlines()[-4:]))
    print(f"{date.today()}: {sum(cases.values())} failing calls, {bad} wrong")
    for name, count in cases.items():
        print(
            f"    {name}: {bench.calls[name]} calls write; {count} cases, {finished[name]} finished all the same"
        )
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
