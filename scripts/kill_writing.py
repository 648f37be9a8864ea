"""Kills commands that write, again and again, and looks at what is left, and at what the next run makes of it.

    python scripts/kill_writing.py --kills 500

Half of the processes die in a call that writes, chosen at random, after a share of its bytes; the others are killed
from outside at any moment. Then every old file must be as it was or the new one whole, and after the same command has
been run again everything must be there and nothing unfinished left. Exits with 1 if not.
"""

from __future__ import annotations

import argparse
import random
import signal
from collections import Counter
from datetime import date
from pathlib import Path

import faults


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of death")
    options = parser.parse_args()
    faults.preload()
    rng = random.Random(options.seed)  # noqa: S311 (moments, no secrets)
    commands = faults.COMMANDS
    kills, late, half, left, bad = Counter[str](), 0, 0, 0, 0
    with faults.scratch() as folder:
        bench = faults.Bench(Path(folder), [*commands, faults.NAIVE])
        for number in (2, 3):  # the control: this must be noticed
            work = bench.fresh(faults.NAIVE)
            bench.run(faults.NAIVE, work, faults.armed(work, faults.DIE, number))
            if not bench.judge(faults.NAIVE, work, killed=True):
                raise SystemExit("a writer that is known to be bad was found good")
        while kills.total() < options.kills:
            command = commands[(kills.total() + late) % len(commands)]
            work = bench.fresh(command)
            if rng.random() < 0.5:
                number, share = rng.randint(1, bench.calls[command.name]), rng.random()
                moment = f"in call {number}"
                done = bench.run(command, work, faults.armed(work, faults.DIE, number, share=share))
            else:
                seconds = rng.uniform(0, bench.seconds[command.name])
                moment = f"after {seconds:.3f} s"
                done = bench.run(command, work, kill_after=seconds)
            if done.status != -signal.SIGKILL:  # it had finished before
                late += 1
                continue
            kills[command.name] += 1
            wrong = bench.judge(command, work, killed=True)
            half += bool(wrong)
            left += any(faults.is_temporary(name) for name in faults.files_of(work))
            again = bench.run(command, work)
            finished = again.status == 0 or "exists already" in again.stderr
            if not finished:
                wrong.append(f"the next run ends with status {again.status}: {again.stderr.strip()[-200:]}")
            wrong += bench.judge(command, work) + bench.unfinished(command, work)
            if wrong:
                bad += 1
                print(f"{command.name}, killed {moment}: {'; '.join(wrong)}")
    print(
        f"{date.today()}: {kills.total()} kills, {half} left something half written or lost, {left} left temporary "
        f"files; {bad} were wrong then or after the next run"
    )
    for name, count in kills.items():
        print(f"    {name}: {count}")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
