"""What every metric refuses, in one place: the message names the metric, what was found and what to do."""

import importlib
import re

import pytest
import torch

from ucdir.errors import DataError, UcdirError
from ucdir.metrics.pair import checked_pair
from ucdir.metrics.psnr import psnr
from ucdir.metrics.ssim import ssim

GOOD = torch.zeros(1, 3, 16, 16)

REFUSED = [
    (
        torch.zeros(1, 3, 16, 17),
        GOOD,
        "found restored [1, 3, 16, 17] and clean [1, 3, 16, 16]; crop or restore",
    ),
    (torch.zeros(2, 3, 16, 16), GOOD, "found restored [2, 3, 16, 16] and clean [1, 3, 16, 16]"),
    (torch.zeros(3, 16, 16), torch.zeros(3, 16, 16), "takes RGB images [B,3,H,W], found [3, 16, 16]"),
    (
        torch.zeros(1, 1, 16, 16),
        torch.zeros(1, 1, 16, 16),
        "takes RGB images [B,3,H,W], found [1, 1, 16, 16]",
    ),
    (torch.zeros(1, 16, 16, 3), torch.zeros(1, 16, 16, 3), "found [1, 16, 16, 3]"),
    (torch.zeros(0, 3, 16, 16), torch.zeros(0, 3, 16, 16), "found [0, 3, 16, 16]"),
    (torch.zeros(1, 3, 0, 16), torch.zeros(1, 3, 0, 16), "pixels a side, found [0, 16]"),
    (GOOD.to(torch.uint8), GOOD, "takes floating point in [-1,1], found restored torch.uint8"),
    (GOOD, GOOD.to(torch.int64), "takes floating point in [-1,1], found clean torch.int64"),
]


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(("restored", "clean", "message"), REFUSED)
def test_images_that_cannot_be_compared(metric, restored, clean, message):
    with pytest.raises(DataError, match=f"^{metric.__name__.upper()} .*{re.escape(message)}"):
        metric(restored, clean)


def test_the_smallest_image():
    assert checked_pair("M", GOOD, GOOD, 16)[0].shape == GOOD.shape
    with pytest.raises(
        DataError, match=r"M needs images of at least 17 pixels a side, found \[16, 16\]; use larger"
    ):
        checked_pair("M", GOOD, GOOD, 17)
    with pytest.raises(DataError, match="SSIM needs images of at least 11 pixels"):
        ssim(GOOD[..., :10], GOOD[..., :10])


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ((torch.float16, torch.float16), torch.float32),
        ((torch.bfloat16, torch.float32), torch.float32),
        ((torch.float32, torch.float64), torch.float64),
    ],
)
def test_both_come_in_one_precision(given, taken):
    pair = checked_pair("M", GOOD.to(given[0]), GOOD.to(given[1]))
    assert [image.dtype for image in pair] == [taken, taken]


def test_without_torchmetrics_the_message_says_what_to_install(monkeypatch):
    def absent(module):
        raise ModuleNotFoundError("No module named 'torchmetrics'", name="torchmetrics")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        UcdirError, match=r"SSIM needs the package torchmetrics.*pip install 'ucdir\[metrics\]'"
    ):
        ssim(GOOD, GOOD)
