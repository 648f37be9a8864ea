"""Several processes that train together, on one machine or many, as `torchrun` or `accelerate launch` starts them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import torch
from torch import distributed

from ucdir.errors import ConfigError, DeviceError, reason
from ucdir.extras import optional_module

if TYPE_CHECKING:
    from accelerate import Accelerator

TIMEOUT: Final = timedelta(minutes=30)
"""How long a process waits for the others, at the start and at each step."""


def new_accelerator(mixed_precision: str) -> Accelerator:
    """The accelerator of this process, which has met the others.

    Raises:
        DeviceError: the others cannot be reached, or the device can only be used by one process.
        ConfigError: this process has trained with another precision.
        ExtraError: accelerate is not installed.
    """
    accelerate = optional_module("accelerate", "train", "training")
    started = process_count()
    _wait_for_first(started)
    try:
        # without `cpu`, accelerate would let each process of a machine without GPU train all by itself
        accelerator: Accelerator = accelerate.Accelerator(
            cpu=not torch.accelerator.is_available(),
            mixed_precision=mixed_precision,
            kwargs_handlers=[accelerate.InitProcessGroupKwargs(timeout=TIMEOUT)],
        )
    except ValueError as error:
        if "already been initialized" not in str(error):
            raise
        raise ConfigError(
            f"training.mixed_precision {mixed_precision}: this process has trained with another, and accelerate keeps "
            "the first; start a new one."
        ) from None
    except (distributed.DistError, RuntimeError) as error:
        if started == 1 or not _is_of_network(error):
            raise
        raise _not_met(started) from None
    if accelerator.num_processes != started:
        raise DeviceError(
            f"{started} processes were started, but {accelerator.device} can only be used by one."
        )
    return accelerator


def _wait_for_first(started: int) -> None:
    """Wait until the first process listens; PyTorch would print its own stack if it never does."""
    if started == 1 or os.environ.get("RANK", "0") == "0":
        return
    end = time.monotonic() + TIMEOUT.total_seconds()
    while True:
        try:
            address = os.environ.get("MASTER_ADDR", "localhost"), int(os.environ.get("MASTER_PORT", "29500"))
            socket.create_connection(address, timeout=5).close()
        except (OSError, ValueError, OverflowError):
            if time.monotonic() > end:
                raise _not_met(started) from None
            time.sleep(0.2)
        else:
            return


def _not_met(started: int) -> DeviceError:
    address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
    return DeviceError(
        f"the {started} processes of this training did not meet at {address} within {TIMEOUT}; check that the first "
        "machine runs, that this address is its own, that no firewall closes the port, and that all machines were "
        "started with the same numbers."
    )


def process_count() -> int:
    """How many processes were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def one_by_machine(accelerator: Accelerator) -> Iterator[None]:
    """First the main process alone, then one process of each other machine, then the rest.

    So what the first leaves on a disk that all share, or on the machine's own, is there for the others.
    """
    with accelerator.main_process_first(), accelerator.local_main_process_first():
        yield


def check_same(accelerator: Accelerator, found: Mapping[str, object]) -> None:
    """Refuse to train with processes that have found different things, by name, on their machines.

    Raises:
        ConfigError: naming the first one that differs.
    """
    if accelerator.num_processes == 1:
        return
    everywhere: list[Mapping[str, object] | None] = [None] * accelerator.num_processes
    distributed.all_gather_object(everywhere, dict(found))
    for number, theirs in enumerate(everywhere):
        for name, value in (everywhere[0] or {}).items():
            other = (theirs or {}).get(name)
            if other != value:
                raise ConfigError(
                    f"{name}: process 0 has found {value!s:.80}, process {number} {other!s:.80}; give every machine "
                    "the same configuration and photographs, and an output folder that they share."
                )


@contextmanager
def others_may_be_lost(accelerator: Accelerator) -> Iterator[None]:
    """Say in one sentence that another process, or its machine, has gone."""
    try:
        yield
    except RuntimeError as error:
        if accelerator.num_processes == 1 or not _is_of_network(error):
            raise
        raise DeviceError(
            f"another process of this training was lost ({reason(error):.120}); run the same command again to resume "
            "from the last checkpoint."
        ) from None


def leave() -> None:
    """Take leave of the other processes, where there are any."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _is_of_network(error: Exception) -> bool:
    words = ("gloo", "nccl", "connect", "socket", "timed out", "timeout")
    return isinstance(error, distributed.DistError) or any(word in str(error).lower() for word in words)
