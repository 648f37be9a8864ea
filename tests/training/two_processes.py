"""Run by test_two_processes.py: trains the configurations named on the command line in two processes.

`python -m torch.distributed.run` sets the same variables; forking saves importing everything three times.
"""

import json
import os
import socket
import sys
from pathlib import Path

import torch

from ucdir.config import parse_config
from ucdir.training.loop import train


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


torch.set_num_threads(1)
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), WORLD_SIZE="2", OMP_NUM_THREADS="1")
second = os.fork()
rank = "1" if second == 0 else "0"
os.environ.update(RANK=rank, LOCAL_RANK=rank)
for file in map(Path, sys.argv[1:]):
    train(parse_config(json.loads(file.read_text()), file.name), file.with_suffix(""))
torch.distributed.destroy_process_group()
if second:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]))
