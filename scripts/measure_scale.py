"""Memory, time and disk space of restoring photographs of any size.

    python scripts/measure_scale.py PHOTO... --megapixels 12 50 100        a line for each size
    python scripts/measure_scale.py PHOTO... --megapixels 1000             a gigapixel: 13 GB of disk space
    python scripts/measure_scale.py PHOTO... --megapixels 12 --kill        killed in the middle, and resumed

The images are mosaics that repeat the photographs given, JPEG files of quality 50. Each is restored in a process of its
own, as `ucdir restore` does by default; other arguments of it follow --. Memory is the peak of the resident set, disk
space that which the file system lost at most meanwhile, its results included. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

TILE = 1024


def mosaic(photos: list[Path], megapixels: float, file: Path) -> tuple[int, int]:
    """Write a mosaic of 8:5, and give its width and height."""
    import numpy as np

    from ucdir.images import read
    from ucdir.images.decode import vips
    from ucdir.images.pixels import middle, to_rgb8

    width, height = (round((megapixels * 1e6 * ratio) ** 0.5) for ratio in (8 / 5, 5 / 8))
    tiles = []
    for photo in photos:
        tile = middle(to_rgb8(read(photo).pixels), TILE)
        tile = np.pad(tile, ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0)), mode="symmetric")
        tiles.append(vips().Image.new_from_memory(tile.tobytes(), TILE, TILE, 3, "uchar"))
    rows = [vips().Image.arrayjoin(tiles[n:] + tiles[:n], across=len(tiles)) for n in range(len(tiles))]
    square = vips().Image.arrayjoin(rows, across=1)  # each row begins with another photograph
    side = TILE * len(tiles)
    whole = square.replicate(-(-width // side), -(-height // side)).crop(0, 0, width, height)
    whole.copy(interpretation="srgb").jpegsave(str(file), Q=50, keep="none")
    return width, height


def restored(
    photo: Path, output: Path, options: list[str], kill_after: float | None = None
) -> dict[str, Any]:
    """Run `ucdir restore`, and what it took; killed after so many seconds of it if given."""
    command = [
        sys.executable,
        "-m",
        "ucdir.cli",
        "restore",
        str(photo),
        "-o",
        str(output),
        "--overwrite",
        *options,
    ]
    free = least = shutil.disk_usage(output.parent).free
    began = time.monotonic()
    process = subprocess.Popen(command)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        least = min(least, shutil.disk_usage(output.parent).free)
        if kill_after is not None and time.monotonic() - began > kill_after:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.2)
    return {
        "failed": status != 0, "wall": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss * 1024, "disk": free - least,
    }  # fmt: skip


def table(photos: list[Path], sizes: list[float], folder: Path, options: list[str], suffix: str) -> None:
    """A line for each size."""
    print(f"{date.today()}, {os.cpu_count()} cores, ucdir restore {' '.join(options)}")
    print(
        "| megapixels | size | peak memory, MB | CPU s | CPU s a megapixel | s | disk space, GB | result, GB |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for megapixels in sizes:
        photo, output = folder / "mosaic.jpg", folder / f"mosaic.restored{suffix}"
        width, height = mosaic(photos, megapixels, photo)
        took = restored(photo, output, options)
        if took["failed"]:
            raise SystemExit(f"{width}x{height}: ucdir restore failed")
        print(
            f"| {megapixels:g} | {width}x{height} | {took['memory'] / 1e6:.0f} | {took['cpu']:.1f} "
            f"| {took['cpu'] / megapixels:.2f} | {took['wall']:.0f} | {took['disk'] / 1e9:.2f} "
            f"| {output.stat().st_size / 1e9:.2f} |",
            flush=True,
        )
        output.unlink()


def killed(photos: list[Path], megapixels: float, folder: Path, options: list[str], suffix: str) -> None:
    """A run that is killed in the middle and resumed, beside one that is not."""
    photo, output = folder / "mosaic.jpg", folder / f"mosaic.restored{suffix}"
    mosaic(photos, megapixels, photo)
    whole = restored(photo, output, options)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    output.unlink()
    first = restored(photo, output, [*options, "--resume"], whole["wall"] / 2)
    if output.exists() or not first["failed"]:
        raise SystemExit("it had finished before it was killed")
    rows = next(folder.glob(".ucdir-*.unfinished/rows")).read_text().split()
    second = restored(photo, output, [*options, "--resume"])
    same = hashlib.sha256(output.read_bytes()).hexdigest() == digest
    left = [path.name for path in folder.iterdir() if "unfinished" in path.name]
    print(
        f"{megapixels:g} megapixels: killed after {first['wall']:.0f} s at row {rows[-1] if rows else 0}, resumed in "
        f"{second['cpu']:.1f} CPU s, where the whole takes {whole['cpu']:.1f}; peak memory "
        f"{max(run['memory'] for run in (whole, first, second)) / 1e6:.0f} MB; the file is "
        f"{'the same' if same else 'ANOTHER'}, and {len(left)} folders are left."
    )


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12, 100])
    parser.add_argument("--kill", action="store_true", help="kill a run in the middle, and resume it")
    parser.add_argument("--suffix", default=".png", help="of the result, such as .tif or .jpg")
    parser.add_argument("--folder", type=Path, help="where the files are made; default: a temporary one")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, options = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        if arguments.kill:
            for megapixels in arguments.megapixels:
                killed(arguments.photos, megapixels, Path(name), options, arguments.suffix)
        else:
            table(arguments.photos, arguments.megapixels, Path(name), options, arguments.suffix)


if __name__ == "__main__":
    main()
