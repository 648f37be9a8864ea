"""Two processes, each with half of every batch, end with the weights of one process with whole batches."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ucdir.data.crops import Batches
from ucdir.training.loop import train

SETTINGS = {"joint": {}, "separate": {"optimizer": "muon"}}
"""Ways of training the predictor: gradients of all processes are joined only if every parameter has one."""

CLOSE = {"joint": 2e-4, "separate": 2e-2}
"""After a few steps in float32, as sums are taken in another order; Muon makes orthogonal what is nearly 0, too."""


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """Folder of all runs, and how the processes of each ended."""
    folder = tmp_path_factory.mktemp("runs")

    def write(name, **settings):
        (folder / f"{name}.json").write_text(tiny(**settings).model_dump_json())

    for way, settings in SETTINGS.items():
        config = tiny(diffusion={"predictor_training": way}, steps=3, sample_every=2, **settings)
        train(config, folder / f"{way}_alone")
        (folder / f"{way}.json").write_text(config.model_dump_json())
    (folder / "goes_on").mkdir()
    shutil.copy(folder / "joint_alone" / "checkpoint.safetensors", folder / "goes_on")
    write("goes_on", diffusion={"predictor_training": "joint"}, steps=6)
    write("lost")
    write("different")
    write("unreachable")
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def difference(one, other):
    """Largest difference of two checkpoints' tensors, each relative to the largest number of its tensor."""
    one, other = load_file(one / "checkpoint.safetensors"), load_file(other / "checkpoint.safetensors")
    assert one.keys() == other.keys()
    return max(float(np.abs(other[n] - t).max() / max(np.abs(t).max(), 1e-6)) for n, t in one.items())


@pytest.mark.parametrize("way", SETTINGS)
def test_two_processes_train_what_one_does(runs, way):
    folder, ends = runs
    assert ends[way] == [None, None]
    assert difference(folder / f"{way}_alone", folder / way) < CLOSE[way]
    assert len(list((folder / way / "samples").glob("*.png"))) == 2


def test_another_number_of_processes_goes_on(runs, tiny):
    """From the same checkpoint, two processes after one, and one after two, end like one that never stopped."""
    folder, ends = runs
    config = tiny(diffusion={"predictor_training": "joint"}, steps=6)
    train(config, folder / "whole")
    train(config, folder / "joint")
    assert ends["goes_on"] == [None, None]
    assert difference(folder / "whole", folder / "goes_on") < CLOSE["joint"]
    assert difference(folder / "whole", folder / "joint") < CLOSE["joint"]
    assert difference(folder / "whole", folder / "joint_alone") > 1e-2, "control: three more steps are seen"


def test_processes_that_do_not_belong_together_are_refused(runs):
    _, ends = runs
    for end in ends["different"]:
        assert re.fullmatch(
            r"ConfigError: seed: process 0 has found 0, process 1 1; give every machine .*\.", end
        )


def test_processes_that_are_missing_or_lost(runs):
    folder, ends = runs
    assert re.fullmatch(
        r"DeviceError: the 2 processes of this training did not meet at 127.0.0.1:\d+ within 0:00:01; .*\.",
        ends["unreachable"][0],
    )
    message, gone = ends["lost"]
    assert gone == "gone"
    assert re.fullmatch(
        r"DeviceError: another process of this training was lost \(.*\); run the .*\.", message
    )
    assert not (folder / "lost" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_batch_is_shared_out_by_place(processes):
    shares = [list(Batches(3, 6, 8, process, processes)) for process in range(processes)]
    assert [len(Batches(3, 6, 8, 0, processes))] == [3]
    for i in range(3):
        together = [item for share in shares for item in share[i]]
        assert together == list(range((3 + i) * 8, (4 + i) * 8))
        assert {len(share[i]) for share in shares} == {8 // processes}
