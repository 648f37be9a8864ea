"""Memory that is counted on for a forward pass, and whole restorations under real limits."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ucdir.degradations import JpegCompression

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.mark.parametrize(("engine", "precision"), [("torch", "fp32"), ("torch", "bf16"), ("onnx", "fp32")])
def test_what_is_counted_on_is_within_a_factor_of_what_is_taken(root, engine, precision):
    """A new process: memory that the C library kept from before would not be seen.

    What is taken varies by an eighth, by how two threads happen to take turns.
    """
    code = f"""
import sys; sys.path.insert(0, {str(root / "scripts")!r})
from measure_memory import measure
found = measure("jpeg_restoration_small", {engine!r}, {precision!r}, 640)
print(found)
assert 0.3 * found["counted"] < max(found["predict"], found["denoise"]) < 1.25 * found["counted"]
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def twelve_megapixels(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    photo = tmp_path_factory.mktemp("large") / "photo.jpg"
    large = Image.fromarray(pixels).resize((4000, 3000), Image.Resampling.BICUBIC)
    photo.write_bytes(JpegCompression(20).encode(np.asarray(large)))
    return photo


@pytest.mark.parametrize(
    ("engine", "limit", "words"),
    [
        ("torch", "ulimit -v 1000000", "4000x3000 pixels: this needs about"),
        ("torch", "ulimit -v 600000", "more address space, and"),
        ("torch", "ulimit -d 450000", "memory"),
        ("onnx", "ulimit -v 500000", "4000x3000 pixels: this needs about"),
        ("onnx", "ulimit -v 360000", "memory"),
        ("onnx", "ulimit -d 170000", "memory"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(twelve_megapixels, model_folder, engine, limit, words):
    command = (
        f"{limit}; exec {sys.executable} -m ucdir.cli restore {twelve_megapixels} --model {model_folder} "
        f"--engine {engine}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert any(line.startswith("ucdir: ") and words in line for line in lines), done.stderr
    assert not list(twelve_megapixels.parent.glob("*restored*"))


@pytest.mark.parametrize(
    ("engine", "limit", "option"),
    [
        ("torch", "ulimit -v 1500000", "--max-memory 1.2GB"),
        ("onnx", "ulimit -v 600000", "--max-memory 300MB"),
    ],
)
def test_under_a_limit_the_picture_is_the_same(tmp_path, model_folder, engine, limit, option):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(JpegCompression(20).encode(np.repeat(np.repeat(pixels, 8, 0), 8, 1)))
    for name, before, options in (
        ("free", "true", ""),
        ("limited", limit, option),
    ):
        command = (
            f"{before}; exec {sys.executable} -m ucdir.cli restore {photo} -o {tmp_path / name}.png "
            f"--model {model_folder} --engine {engine} {options}"
        )
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    free, limited = (
        np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("free", "limited")
    )
    assert np.abs(free - limited).max() <= 1


def test_where_onnx_runtime_gets_no_memory_smaller_patches_are_taken(root):
    """A real limit of address space, and no look at what is free before.

    What ONNX Runtime keeps and asks for differs from machine to machine, so the limit is raised until the smallest
    patches fit; the whole image takes six times as much and does not fit then.
    """
    code = f"""
import os
import resource
import sys
import numpy as np
from ucdir import memory
from ucdir.errors import DeviceError
from ucdir.patches import tile_runner
from ucdir.pipeline import load
pipe = load({str(root / "src" / "ucdir" / "weights" / "jpeg_restoration_small")!r}, engine="onnx", precision="fp32")
image = np.random.default_rng(0).random((1, 3, 600, 800), dtype=np.float32) * 2 - 1
pipe.restore_signal(image[..., :64, :64])
expected = pipe.restore_signal(image)
tile_runner.free_memory = lambda limit=None: None
memory.trim_heap()
size = memory._status("VmSize")
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]), resource.RLIM_INFINITY))
smaller = []
tile_runner.logger.warning = lambda *said: smaller.append(said)
try:
    restored = pipe.restore_signal(image)
except DeviceError:
    os._exit(3)
assert np.array_equal(restored, expected)
print(f"{{len(smaller)}} times smaller", flush=True)
os._exit(0)  # ONNX Runtime's own end may wait for ever where there is no memory
"""
    for spare in range(40_000_000, 400_000_000, 20_000_000):
        done = subprocess.run(
            [sys.executable, "-c", code, str(spare)], capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        if done.returncode not in (3, 127):  # 127: not even the C library had enough, for a thread of its own
            break
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout in {f"{number} times smaller\n" for number in (1, 2, 3)}
