"""The Triton kernel against Eq. 2 written out, on Triton's interpreter: forward and all gradients."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from machine import NEEDS_GPU

PROGRAM = """
import json, sys, torch
from ucdir.model.akgm import triton
from ucdir.model.akgm.reference import akgm_reference
from ucdir.model.akgm.triton import akgm_fused

triton.SPLITS = 2  # so that a program goes on from pixels to others, over the ends of rows and images
batch, channels, count, height, width, name, device = json.loads(sys.argv[1])
torch.manual_seed(0)
kind = dict(dtype=getattr(torch, name), device=device)
dtype = kind["dtype"]
x, m, g = (torch.randn(batch, c, height, width, **kind) for c in (channels, count, channels))
w = torch.randn(channels * count, channels // count, 3, 3, **kind) * 0.1
results = []
for form in (akgm_fused, akgm_reference):
    kind = dtype if form is akgm_fused else torch.float64
    leaves = [t.detach().to(kind, copy=True).requires_grad_() for t in (x, m, w)]
    out = form(*leaves)
    out.backward(g.to(kind))
    results.append([out.detach().double(), *(leaf.grad.double() for leaf in leaves)])
print(json.dumps([float((a - b).abs().max() / b.abs().max()) for a, b in zip(*results)]))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed (not needed on a CPU)"
)
@pytest.mark.parametrize(
    ("case", "bound"),
    [
        ((2, 8, 2, 5, 7, "float32"), 1e-5),
        ((3, 4, 2, 9, 13, "float32"), 1e-5),  # groups of 2 channels, six tiles of pixels
        ((3, 8, 4, 3, 50, "float16"), 5e-3),
        ((1, 12, 4, 4, 3, "float32"), 1e-5),  # groups of 3 channels: no power of two
        ((1, 16, 8, 13, 11, "float16"), 5e-3),  # the interpreter has no arithmetic of bfloat16
        # groups of 80 channels: more than one tile, and the last not full
        ((1, 320, 4, 3, 5, "float16"), 5e-3),
    ],
)
def test_forward_and_gradients(case, bound):
    assert max(errors_of((*case, "cpu"), TRITON_INTERPRET="1")) < bound


@NEEDS_GPU
@pytest.mark.parametrize(
    ("case", "bound"),
    [
        ((2, 32, 4, 33, 47, "float32"), 1e-5),
        ((1, 12, 4, 20, 19, "float32"), 1e-5),
        ((1, 64, 8, 20, 19, "float32"), 1e-5),
        ((2, 64, 8, 24, 40, "bfloat16"), 2e-2),
        ((1, 512, 8, 16, 16, "bfloat16"), 2e-2),
    ],
)
def test_forward_and_gradients_on_a_gpu(case, bound):
    assert max(errors_of((*case, "cuda"))) < bound


def errors_of(case, **environment):
    """Of the result and of all three gradients, relative to the largest value."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(case)], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    errors = json.loads(result.stdout)
    assert len(errors) == 4
    return errors
