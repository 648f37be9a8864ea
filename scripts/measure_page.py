"""Measures the page in chromium beside `ucdir restore`, and takes the screenshots of docs/web.md.

    python scripts/measure_page.py                          # sizes, one photo of a megapixel
    python scripts/measure_page.py --megapixels 12 --only threads
    python scripts/measure_page.py --screenshots docs

Needs what the page's tests need: Node.js, what `npm ci` installs in web/, chromium and playwright. CPU seconds and
memory are those of the processes of the browser or the program; seconds are from choosing the photo, or starting, on.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import web_page  # noqa: E402

MODELS = ("jpeg_restoration_small", "deblurring", "low_light_small")


def main() -> None:
    """Do what the options say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=float, default=1)
    parser.add_argument("--only", nargs="+", default=["threads", "thread", "onnx", "torch"])
    parser.add_argument("--screenshots", type=Path)
    parser.add_argument("--page", type=Path, help="a page that is built already")
    given = parser.parse_args()
    if (why := web_page.missing()) is not None:
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as temporary:
        page = given.page or Path(temporary, "dist")
        if given.page is None:
            web_page.build(page, *MODELS)
        if given.screenshots is not None:
            take_screenshots(page, given.screenshots)
            return
        print_sizes(page)
        photo = Path(temporary, "photo.jpg")
        make_photo(photo, given.megapixels)
        program = [
            sys.executable,
            "-m",
            "ucdir.cli",
            "restore",
            photo,
            "-o",
            Path(temporary, "restored.png"),
            "--overwrite",
        ]
        ways = {
            "threads": lambda: measure_page(page, photo, isolated=True),
            "thread": lambda: measure_page(page, photo, isolated=False),
            "onnx": lambda: measure_program([*program, "--engine", "onnx"]),
            "torch": lambda: measure_program([*program, "--engine", "torch", "--precision", "fp32"]),
        }
        for name in given.only:
            seconds, cpu, mb = ways[name]()
            mp = given.megapixels
            print(f"{name:8} {seconds / mp:6.1f} s/MP {cpu / mp:6.1f} CPU s/MP {mb:7.0f} MB", flush=True)


def make_photo(file: Path, megapixels: float) -> None:
    """A JPEG file of quality 10: an example, enlarged and tiled."""
    with Image.open(ROOT / "examples" / "coffee.jpg") as image:
        tile = np.asarray(image.convert("RGB").resize((1000, 750), Image.Resampling.BICUBIC))
    height, width = round((megapixels * 0.75e6) ** 0.5), round((megapixels * 1e6 / 0.75) ** 0.5)
    rows, columns = -(-height // 750), -(-width // 1000)
    Image.fromarray(np.tile(tile, (rows, columns, 1))[:height, :width]).save(file, quality=10)


def print_sizes(page: Path) -> None:
    """Bytes of the built page, and what is left of them compressed."""

    def megabytes(files: list[Path]) -> str:
        packed = sum(len(gzip.compress(file.read_bytes(), 6)) for file in files)
        return f"{sum(file.stat().st_size for file in files) / 1e6:.2f} MB, {packed / 1e6:.2f} MB by gzip"

    files = [file for file in page.rglob("*") if file.is_file()]
    runtime = [file for file in files if "ort-wasm" in file.name]
    print("page:", megabytes([file for file in files if file not in runtime and "models" not in file.parts]))
    print("runtime, CPU:", megabytes([file for file in runtime if "asyncify" not in file.name]))
    print("runtime, GPU:", megabytes([file for file in runtime if "asyncify" in file.name]))
    for name in MODELS:
        print(f"{name}:", megabytes([*(page / "models" / name).iterdir()]))


# ------------------------------------------------------------------------------------------------------- the page


@contextmanager
def opened(page: Path, *, isolated: bool, **options: Any) -> Iterator[Any]:
    """The page in a browser, ready; without service workers, which would add the headers for threads."""
    from playwright.sync_api import sync_playwright

    with web_page.static_host(page, isolated=isolated) as (address, _), sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = started.chromium.launch(executable_path=web_page.chromium(), args=arguments)
        tab = browser.new_context(service_workers="block", locale="en-GB", **options).new_page()
        tab.set_default_timeout(3_600_000)
        tab.goto(address)
        tab.wait_for_selector("html[data-ready]")
        yield tab
        browser.close()


def measure_page(page: Path, photo: Path, *, isolated: bool) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak memory in MB from choosing a photo to its being restored."""
    with opened(page, isolated=isolated) as tab, watched() as usage:
        began = time.perf_counter()
        tab.set_input_files("#file", photo)
        tab.locator("#status", has_text="Restored in").wait_for()
        seconds = time.perf_counter() - began
        print(tab.inner_text("#device"), tab.inner_text("#status"))
    return seconds, usage["cpu"], usage["mb"]


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """CPU seconds of this process's descendants, and the peak of the largest one's memory in MB."""
    usage = {"cpu": 0.0, "mb": 0.0}
    before, stop = _descendants(), threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            now = _descendants()
            usage["mb"] = max([usage["mb"], *(mb for _, mb in now.values())])
            usage["cpu"] = max(
                usage["cpu"], sum(cpu - before.get(pid, (0, 0))[0] for pid, (cpu, _) in now.items())
            )

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield usage
    finally:
        stop.set()
        thread.join()


def _descendants() -> dict[int, tuple[float, float]]:
    """CPU seconds and memory in MB by process."""
    found: dict[int, tuple[int, float, float]] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        memory = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        found[int(folder.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / tick, memory
    ours = {os.getpid()}
    while more := {pid for pid, (parent, _, _) in found.items() if parent in ours and pid not in ours}:
        ours |= more
    return {pid: found[pid][1:] for pid in ours - {os.getpid()} if pid in found}


def measure_program(command: list[Any]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak memory in MB of a command, from its start to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with watched() as usage:
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu, usage["mb"]


def take_screenshots(page: Path, folder: Path) -> None:
    """Light and wide, dark and wide, dark and 390 pixels wide in German."""
    photo = ROOT / "examples" / "chelsea.jpg"
    wide, narrow = {"width": 900, "height": 880}, {"width": 390, "height": 800}
    for name, options in {
        "web_light": {"viewport": wide, "color_scheme": "light"},
        "web_dark": {"viewport": wide, "color_scheme": "dark"},
        "web_narrow": {"viewport": narrow, "color_scheme": "dark"},
    }.items():
        with opened(page, isolated=True, **options) as tab:
            if name == "web_narrow":
                tab.select_option("#language", "de")
            tab.set_input_files("#file", photo)
            tab.wait_for_selector("#result")
            tab.wait_for_timeout(500)
            file = folder / f"{name}.png"
            tab.screenshot(path=file, full_page=name == "web_narrow")
            with Image.open(file) as image:
                image.convert("RGB").save(file.with_suffix(".webp"), quality=88, method=6)
            file.unlink()


if __name__ == "__main__":
    main()
