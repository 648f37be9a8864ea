"""Run by test_two_processes.py: trains in two processes, which meet over gloo, and prints how each of them ended.

`torchrun` sets the same variables; forking saves importing everything for each process.

    python two_processes.py FOLDER

FOLDER holds a configuration for each run, NAME.json, which is trained into the folder NAME. In the run `lost` the
second process goes away in the middle, in `different` it has another seed, and in `unreachable` the first is missing.
Prints one JSON object: {NAME: [error or null of each process]}.
"""

import json
import os
import socket
import sys
from datetime import timedelta
from pathlib import Path

import accelerate  # noqa: F401 (once, before forking)
import torch

from ucdir.config import parse_config
from ucdir.errors import UcdirError
from ucdir.training import processes
from ucdir.training.loop import train
from ucdir.training.progress import Progress


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def go_away_at_second_step(self, step, *arguments):
    if step == 2:
        os._exit(0)


def one_process(name, rank, config, output):
    """Why the training ended early, if it did."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    if name == "lost" and rank == 1:
        Progress.update = go_away_at_second_step
    if name == "different" and rank == 1:
        config = config.model_copy(update={"seed": 1})
    if name == "unreachable":
        processes.TIMEOUT = timedelta(seconds=1)
    try:
        train(config, output)
    except UcdirError as error:
        return f"{type(error).__name__}: {error}"
    processes.leave()
    return None


torch.set_num_threads(1)
folder, ends = Path(sys.argv[1]), {}
os.environ.update(MASTER_ADDR="127.0.0.1", WORLD_SIZE="2", OMP_NUM_THREADS="1")
for file in sorted(folder.glob("*.json")):
    config = parse_config(json.loads(file.read_text()), file.name)
    os.environ["MASTER_PORT"] = str(free_port())
    started = {}
    for rank in range(file.stem == "unreachable", 2):
        reader, writer = os.pipe()
        started[rank] = os.fork(), reader
        if started[rank][0] == 0:
            os.write(writer, json.dumps(one_process(file.stem, rank, config, file.with_suffix(""))).encode())
            os._exit(0)
        os.close(writer)
    ends[file.stem] = []
    for process, reader in started.values():
        with os.fdopen(reader) as pipe:
            ends[file.stem].append(json.loads(pipe.read() or '"gone"'))
        os.waitpid(process, 0)
sys.stdout.write(json.dumps(ends))
