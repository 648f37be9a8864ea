"""The device asked for, or one sentence that says which there are."""

import pytest
import torch

from ucdir import devices
from ucdir.devices import available, choose_device
from ucdir.errors import DeviceError


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
