"""Memory that the C library keeps is given back to the system."""

import os
import sys
from pathlib import Path

import pytest

from ucdir.patches import memory
from ucdir.patches.memory import trim_heap


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library of Linux")
def test_what_is_trimmed_is_the_systems():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    trim_heap()
    blocks = [bytearray(b"x" * 100_000) for _ in range(1000)]  # below what malloc asks the system for singly
    pinned = blocks[::50]
    held = resident()
    del blocks
    trim_heap()
    assert held - resident() > 60e6
    assert len(pinned) == 20


def test_where_the_c_library_cannot_nothing_happens(monkeypatch):
    monkeypatch.setattr("ucdir.patches.memory.sys.platform", "darwin")
    memory._malloc_trim.cache_clear()
    assert memory._malloc_trim() is None
    trim_heap()
    memory._malloc_trim.cache_clear()
