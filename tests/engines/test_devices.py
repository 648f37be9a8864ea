"""The device asked for, or one sentence that says which there are."""

from pathlib import Path

import pytest
import torch

from ucdir.engines import devices
from ucdir.engines.devices import available, choose_device, choose_precision
from ucdir.errors import ConfigError, DeviceError


@pytest.fixture
def machine(monkeypatch):
    """A function: pretends that the machine has so many NVIDIA GPUs, and one of Apple's or none."""

    def pretend(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("has", "kinds"),
    [
        ({}, ["cpu"]),
        ({"cuda": 2}, ["cuda", "cpu"]),
        ({"mps": True}, ["mps", "cpu"]),
        ({"cuda": 1, "mps": True}, ["cuda", "mps", "cpu"]),
    ],
)
def test_auto_is_the_fastest(machine, has, kinds):
    machine(**has)
    assert available() == kinds
    assert choose_device("auto") == torch.device(kinds[0])
    for kind in kinds:
        assert choose_device(kind) == torch.device(kind)


def test_a_gpu_by_its_number(machine):
    machine(cuda=2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match="'cuda:2' is not available; this machine has cuda, cpu"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "meta", "cpu:1", "tpu", "", "cuda:x", "CPU", "0"])
def test_what_is_not_there_is_named(machine, name):
    machine()
    with pytest.raises(DeviceError, match=f"device '{name}' is not available; this machine has cpu"):
        choose_device(name)


def test_this_machine_has_a_cpu():
    assert devices.available()[-1] == "cpu"


@pytest.mark.parametrize(
    ("kind", "capabilities", "gpu", "expected"),
    [
        ("cpu", {}, True, torch.float32),
        ("cpu", {"avx512_f": True, "avx512_bf16": False}, True, torch.float32),
        ("cpu", {"avx512_bf16": True}, False, torch.bfloat16),
        ("cpu", {"amx_bf16": True}, False, torch.bfloat16),
        ("cuda", {}, True, torch.bfloat16),
        ("cuda", {"avx512_bf16": True}, False, torch.float32),
        ("mps", {"avx512_bf16": True}, True, torch.float32),
    ],
)
def test_auto_is_bf16_where_the_device_has_it(monkeypatch, kind, capabilities, gpu, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    device = torch.device(kind)
    assert choose_precision("auto", device) is expected
    assert choose_precision("fp32", device) is torch.float32
    assert choose_precision("bf16", device) is torch.bfloat16
    with pytest.raises(ConfigError, match="precision 'fp16' is unknown; choose auto or one of fp32, bf16"):
        choose_precision("fp16", device)


def test_a_torch_that_cannot_tell_has_no_bf16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_precision("auto", torch.device("cpu")) is torch.float32


def test_this_machine_tells_what_it_can():
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    assert devices.has_bf16(torch.device("cpu")) == ("avx512_bf16" in flags or "amx_bf16" in flags)
