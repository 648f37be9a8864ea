"""Two processes, each with half of every batch, end with the weights of one process with whole batches."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ucdir.data.crops import Batches
from ucdir.training.loop import train


def test_two_processes_train_what_one_does(tiny, tmp_path):
    """`joint` and `separate`: gradients of all processes are joined only if every parameter has one."""
    files = []
    for way in ("joint", "separate"):
        config = tiny(diffusion={"predictor_training": way}, steps=3, sample_every=2)
        train(config, tmp_path / f"{way}_alone")
        files.append(tmp_path / f"{way}.json")
        files[-1].write_text(config.model_dump_json())
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run([sys.executable, script, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for way in ("joint", "separate"):
        alone = load_file(tmp_path / f"{way}_alone" / "checkpoint.safetensors")
        two = load_file(tmp_path / way / "checkpoint.safetensors")
        assert alone.keys() == two.keys()
        for name, tensor in alone.items():
            np.testing.assert_allclose(two[name], tensor, rtol=1e-4, atol=2e-6, err_msg=f"{way} {name}")
        assert len(list((tmp_path / way / "samples").glob("*.png"))) == 2


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_batch_is_shared_out_by_place(processes):
    shares = [list(Batches(3, 6, 8, process, processes)) for process in range(processes)]
    assert [len(Batches(3, 6, 8, 0, processes))] == [3]
    for i in range(3):
        together = [item for share in shares for item in share[i]]
        assert together == list(range((3 + i) * 8, (4 + i) * 8))
        assert {len(share[i]) for share in shares} == {8 // processes}
