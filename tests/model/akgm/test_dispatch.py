"""Which form of Eq. 2 a network takes."""

import importlib.util
import pickle
import sys

import pytest
import torch

from ucdir.errors import ConfigError
from ucdir.model.akgm import dispatch
from ucdir.model.akgm.dispatch import akgm_auto, akgm_fused_or_grouped, akgm_grouped, chosen_kernel
from ucdir.model.cim import AdaptiveKernelGuidance


@pytest.fixture
def taken(monkeypatch):
    """The names of the forms that are called, in a list."""
    names = []
    for name in ("akgm_grouped", "akgm_strips"):
        form = getattr(dispatch, name)
        monkeypatch.setattr(dispatch, name, lambda *a, form=form, name=name: names.append(name) or form(*a))
    return names


def arguments(dtype=torch.float32):
    return torch.randn(1, 8, 5, 5, dtype=dtype), torch.randn(1, 2, 5, 5, dtype=dtype), torch.randn(
        16, 4, 3, 3, dtype=dtype, requires_grad=True
    )  # fmt: skip


def test_the_kernel_is_chosen_when_a_network_is_built(monkeypatch):
    monkeypatch.setenv("UCDIR_KERNEL", "grouped")
    assert chosen_kernel() is akgm_grouped
    monkeypatch.delenv("UCDIR_KERNEL")
    assert chosen_kernel() is akgm_auto
    monkeypatch.setenv("UCDIR_KERNEL", "magic")
    with pytest.raises(
        ConfigError, match="UCDIR_KERNEL 'magic' is unknown; choose one of auto, grouped, fused"
    ):
        AdaptiveKernelGuidance(8, guidance_channels=3, kernel_bases=2, scalar_channels=4)


def test_auto_takes_strips_in_16_bits_without_gradients(taken):
    with torch.no_grad():
        akgm_auto(*arguments())
        akgm_auto(*arguments(torch.bfloat16))
        akgm_auto(*arguments(torch.float16))
        with torch.autocast("cpu", torch.bfloat16):
            akgm_auto(*arguments())
    assert taken == ["akgm_grouped", "akgm_strips", "akgm_grouped", "akgm_strips"]
    taken.clear()
    with torch.autocast("cpu", torch.bfloat16):
        akgm_auto(*arguments()).sum().backward()
    assert taken == ["akgm_grouped"]


def test_the_sum_with_the_bias_stays_in_16_bits():
    module = AdaptiveKernelGuidance(8, guidance_channels=3, kernel_bases=2, scalar_channels=4)
    given = torch.randn(1, 8, 5, 5), torch.randn(1, 3, 5, 5), torch.randn(1, 4)
    with torch.no_grad():
        exact = module(*given)
        with torch.autocast("cpu", torch.bfloat16):
            result = module(*given)
    assert (exact.dtype, result.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(result.float(), exact, rtol=0.05, atol=0.05)


class OfAGpu:
    """Looks like a tensor on a GPU."""

    is_cuda = True

    def get_device(self):
        return 0


def test_where_triton_does_not_work_grouped_runs_and_one_warning_says_so(monkeypatch, caplog):
    dispatch._triton_works.cache_clear()
    monkeypatch.setattr(dispatch, "akgm_grouped", lambda *_: "grouped")
    monkeypatch.setitem(sys.modules, "ucdir.model.akgm.triton", None)  # importing it fails
    assert [akgm_fused_or_grouped(OfAGpu(), None, None) for _ in range(2)] == ["grouped", "grouped"]
    assert caplog.text.count("Triton cannot compile its kernel") == 1
    dispatch._triton_works.cache_clear()


def test_networks_can_be_pickled():
    module = AdaptiveKernelGuidance(8, guidance_channels=3, kernel_bases=2, scalar_channels=4)
    assert pickle.loads(pickle.dumps(module)).kernel is akgm_auto  # noqa: S301 (its own)


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed (not needed on a CPU)"
)
def test_on_a_cpu_fused_means_grouped(monkeypatch):
    monkeypatch.setenv("UCDIR_KERNEL", "fused")
    module = AdaptiveKernelGuidance(8, guidance_channels=3, kernel_bases=2, scalar_channels=4)
    x, guidance, scalars = torch.randn(1, 8, 5, 5), torch.randn(1, 3, 5, 5), torch.randn(1, 4)
    result = module(x, guidance, scalars)
    module.kernel = akgm_grouped
    assert torch.equal(result, module(x, guidance, scalars))
