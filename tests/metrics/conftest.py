"""The calibration pairs with their official metric values, from the data folder."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

NAMES = ("I03", "I04", "I06", "I08", "I19")


@pytest.fixture(autouse=True)
def _one_thread_and_seed(one_thread):
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def calibration(shared):
    """(degraded, clean), each uint8 [5,384,512,3], and the official values: metric -> five numbers."""
    folder = shared("data/eval/iqa_calibration")

    def read(kind):
        pixels = [np.asarray(Image.open(folder / kind / f"{name}.bmp").convert("RGB")) for name in NAMES]
        return np.stack(pixels)

    with (folder / "results_official.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header[1:] == [f"{name}.bmp" for name in NAMES]
    return read("dist_dir"), read("ref_dir"), {row[0]: [float(v) for v in row[1:]] for row in rows}


@pytest.fixture(scope="session")
def to_tensor():
    """A function: 0..255 [B,H,W,3] -> [B,3,H,W] in [-1,1]."""

    def convert(pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels / 127.5 - 1).movedim(-1, 1).float()

    return convert
