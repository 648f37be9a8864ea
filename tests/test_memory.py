"""How much memory is free, and giving back what the C library keeps."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ucdir import memory
from ucdir.errors import ConfigError, DeviceError
from ucdir.images import Photo
from ucdir.images.parts import PhotoParts
from ucdir.inspection import inspect
from ucdir.memory import trim_heap


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
    monkeypatch.setattr("ucdir.memory.sys.platform", "darwin")
    memory._c_library.cache_clear()
    assert memory._c_library("malloc_trim") is None
    trim_heap()
    memory._c_library.cache_clear()


# -------------------------------------------------------------------------------------------------------- what is free


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2e9), ("1.5 GiB", 1.5 * 2**30), ("800M", 8e8), ("64ki", 65536), ("1000", 1000), (1000, 1000)],
)
def test_sizes_as_people_write_them(text, size):
    assert memory.bytes_of(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "0", "-1GB", "2XB", "1e9", "nan", "2 i", True, None, "9" * 400 + "GB"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match=r"is not a size of memory; write it as 2GB"):
        memory.bytes_of(text)


def cgroup(folder, files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


V1 = {
    "memory.limit_in_bytes": "1000\n",
    "memory.usage_in_bytes": "700\n",
    "memory.stat": "cache 9\ntotal_inactive_file 50\n",
}
V2 = {"memory.max": "2000\n", "memory.current": "700\n", "memory.stat": "anon 9\ninactive_file 50\n"}


@pytest.mark.parametrize(
    ("membership", "groups", "left"),
    [
        ("0::/a/b\n", {"a": V2, "a/b": {**V2, "memory.max": "max\n"}}, [1350]),  # the limit of a parent
        ("0::/../other\n", {".": V2}, [1350]),  # a container's own group, mounted as the root
        ("4:memory:/docker/x\n0::/\n", {"memory/docker/x": V1}, [350]),
        ("4:cpu,memory:/docker/x\n", {"memory": V1}, [350]),  # named as it is outside of the container
        ("3:cpuset:/x\n", {"memory": V1}, []),
        ("0::/\n", {"a": V2}, []),
        ("0::/a\n", {"a": {**V2, "memory.current": "what\n"}}, []),
    ],
)
def test_what_control_groups_leave(tmp_path, membership, groups, left):
    (tmp_path / "self").write_text(membership)
    for name, files in groups.items():
        cgroup(tmp_path / "sys" / name, files)
    assert list(memory._control_groups(tmp_path / "self", tmp_path / "sys")) == left


def test_a_system_without_control_groups(tmp_path):
    assert list(memory._control_groups(tmp_path / "none", tmp_path)) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_least_of_all_limits_counts():
    resident = memory._status("VmRSS")
    assert 0 < memory.free_memory() < 2**50
    assert abs(memory.free_memory(resident + 10**8) - 10**8) < 10**7
    memory.check_free(10**6, "this")
    with pytest.raises(
        DeviceError, match=r"^this: this needs about 1\.0 GB more memory, and 1?\d\d MB is free; close"
    ):
        memory.check_free(10**9, "this", limit=resident + 10**8)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("limit", "used"), [("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")])
def test_the_limits_of_this_process_count(monkeypatch, limit, used):
    import resource

    def limited(which):
        return (memory._status(used) + 10**8 if which == getattr(resource, limit) else -1,) * 2

    monkeypatch.setattr(resource, "getrlimit", limited)
    assert abs(memory.free_memory() - 10**8) <= memory.THREADS + 10**6
    if limit == "RLIMIT_AS":
        with pytest.raises(
            DeviceError, match=r"that: .* about 1.0 GB more address space, and 100 MB is left; raise"
        ):
            memory.check_address_space(10**9, "that")
    memory.check_address_space(10**7, "control")


def test_where_nothing_is_known_nothing_limits(monkeypatch):
    for name in ("_machine", "_control_groups", "_own_limits"):
        monkeypatch.setattr(memory, name, list)
    assert memory.free_memory() is None
    memory.check_free(10**18, "this")


@pytest.fixture
def of_files():
    """A function that tells how many bytes of mapped files count as this process's memory."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells")
    return lambda: (memory._status("RssFile") or 0) + (memory._status("RssShmem") or 0)


KEPT = 20 << 20
"""What parts of an image in a file may take of it; at once they would be 90 MB."""


@pytest.fixture(params=["upright", "turned"])
def wide(request, tmp_path):
    """An image whose rows are longer than what the kernel maps around what is read."""
    image = memory.mapped_array((960, 32_768, 3), np.uint8, tmp_path)
    for rows in memory.in_bands(image, 0, len(image)):
        image[rows] = np.arange(32_768, dtype=np.uint8)[:, None]
    return image if request.param == "upright" else image.swapaxes(0, 1)


@pytest.fixture
def peak(monkeypatch, of_files):
    """What mapped files take at most beyond what they take now, in what is released."""
    before, release, seen = of_files(), memory.release, []

    def watched(array):
        seen.append(of_files() - before)
        release(array)

    monkeypatch.setattr(memory, "release", watched)
    return lambda: max(seen)


def test_parts_of_a_wide_image_in_a_file_take_what_the_parts_take(wide, of_files, peak):
    before, rows, columns = of_files(), slice(40, 900), slice(40, 900)
    part = memory.copied(wide, rows, columns)
    memory.put(part + np.uint8(1), wide, rows, columns)
    assert peak() < KEPT
    assert of_files() - before < KEPT
    assert np.array_equal(memory.thinned(wide, 7), wide[::7, ::7])
    assert np.array_equal(memory.copied(wide, rows, columns), wide[rows, columns])
    assert np.array_equal(wide[rows, columns], part + np.uint8(1))
    assert of_files() - before > 2 * KEPT, "control: read at once"
    memory.release(wide)
    assert of_files() - before < KEPT


def test_looking_at_a_wide_image_does_not_keep_it(wide, of_files, peak):
    before = of_files()
    inspect(Photo(wide))
    assert peak() < KEPT
    assert of_files() - before < KEPT


def test_looking_through_what_is_transparent_does_not_keep_it(wide, of_files, peak):
    before = of_files()
    parts = PhotoParts(Photo(wide[..., :1], wide[..., 2]))
    assert parts.means is not None, "control: some of it is transparent"
    assert peak() < KEPT
    assert of_files() - before < KEPT
