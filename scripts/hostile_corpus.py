"""Reads every file of the hostile corpus in watched processes, and counts what went wrong.

    python scripts/hostile_corpus.py [FOLDER]

The folder has a MANIFEST.tsv as `tests/data/hostile`, which is the default; the environment variable UCDIR_SHARED names
a folder that may hold a larger one as `hostile`. Images are read and, where they are sound, compared with what Pillow
reads; checkpoints are converted, loaded as the weights and settings of a model folder and as configurations; strings of
`requests/` are opened as names. Exits with 1 where something crashes, gives a traceback, takes over 5 s or more than
300 MB, or is not read, refused and understood as the manifest and `tests/support/hostile_corpus.py` say.
"""

from __future__ import annotations

import argparse
import glob
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import supervised
from supervised import Outcome, Tally

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from hostile_corpus import ALLOWED, DEVIATIONS, PILLOW_DIFFERS, by_pillow, images_of, manifest_of  # noqa: E402

SLOW_SECONDS = 5.0
MOST_MEGABYTES = 300.0

JOBS = {
    "image": "images read",
    "pillow": "sound images compared with Pillow",
    "convert": "checkpoints converted",
    "weights": "as weights of a model folder",
    "settings": "as settings of a model folder",
    "config": "as configurations",
    "name": "strings as names of files",
}
"""Kinds of jobs, with their names in the table."""


# ------------------------------------------------------------------------------------------------------- worker


def do_one(job: str) -> object:
    """`KIND ARGUMENT` -> what came of it."""
    kind, _, argument = job.partition(" ")
    return globals()[f"do_{kind}"](argument)


def do_image(path: str) -> object:
    """Size and type of an image."""
    from ucdir.images import read

    photo = read(Path(path))
    return [*photo.pixels.shape, photo.alpha is not None, str(photo.pixels.dtype)]


def do_pillow(path: str) -> str:
    """Whether a file's pixels are Pillow's; "not compared" where Pillow cannot judge."""
    import numpy as np

    from ucdir.images import read

    photo = read(Path(path))
    warnings.simplefilter("ignore")
    try:
        expected, mode = by_pillow(Path(path), photo.pixels.shape[2], photo.alpha is not None)
    except OSError:
        return "not compared"
    if mode == "CMYK" or (photo.pixels.dtype == np.uint16 and expected.dtype == np.uint8):
        return "not compared"
    found = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    if photo.alpha is not None:
        expected, found = (np.where(a[:, :, -1:] == 0, 0, a) for a in (expected, found))
    return "equal" if np.array_equal(expected, found) else "different"


def do_convert(path: str) -> str:
    """Convert a checkpoint."""
    from ucdir.workflows.convert import convert

    with tempfile.TemporaryDirectory() as folder:
        convert(Path(path), Path(folder) / "model")
    return "converted"


def do_weights(path: str) -> str:
    """Load a file as weights."""
    return _in_a_model("predictor/diffusion_pytorch_model.safetensors", path)


def do_settings(path: str) -> str:
    """Load a file as a network's settings."""
    return _in_a_model("predictor/config.json", path)


def _in_a_model(name: str, path: str) -> str:
    """Load a pretrained model of which one file is another."""
    from ucdir.model.pretrained import model_folder
    from ucdir.model.weights import load_model

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        shutil.copytree(model_folder("jpeg_restoration_small"), model)
        shutil.copyfile(path, model / name)
        load_model(model)
    return "loaded"


def do_config(path: str) -> str:
    """Load a file as a configuration."""
    from ucdir.config import load_config

    load_config(Path(path))
    return "loaded"


def do_name(name: str) -> str:
    """Open a string as a path."""
    from ucdir.images import read

    read(Path(name))
    return "read"


# --------------------------------------------------------------------------------------------------------- main


def jobs_of(corpus: Path) -> list[str]:
    """All that is done with a corpus."""
    images = images_of(corpus)
    jobs = [f"image {corpus / path}" for path in images]
    jobs += [f"pillow {corpus / path}" for path in images if path.startswith("valid/")]
    for path in manifest_of(corpus):
        if path.startswith("checkpoints/"):
            jobs += [f"{kind} {corpus / path}" for kind in ("convert", "weights", "settings", "config")]
    for file in sorted(corpus.glob("requests/*.txt")):
        jobs += [f"name {line}" for line in file.read_text(encoding="utf-8").splitlines() if line]
    return jobs


def is_wrong(corpus: Path, manifest: dict[str, dict[str, str]], outcome: Outcome) -> bool:
    """Whether an outcome, if it is one of the two that are meant to be, is not the expected one."""
    kind, _, argument = outcome.job.partition(" ")
    if kind not in ("image", "pillow"):
        return outcome.kind == "done"  # nothing else in the corpus is a model, a configuration or an image
    path = str(Path(argument).relative_to(corpus))
    if kind == "pillow":
        return outcome.text == '"different"' and path not in PILLOW_DIFFERS
    found = {"done": "read", "refused": "refuse"}.get(outcome.kind, "")
    allowed = {DEVIATIONS[path][0]} if path in DEVIATIONS else ALLOWED[manifest[path]["expect"]]
    return found not in allowed


def main() -> int:
    """Print the table; the exit status."""
    shared = Path(os.environ.get("UCDIR_SHARED", ROOT.parent / "shared")) / "hostile"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="the corpus")
    given = parser.parse_args().folder
    corpus = given or (shared if shared.is_dir() else ROOT / "tests" / "data" / "hostile")
    canaries = {*glob.glob("/tmp/CANARY*")}  # noqa: PTH207, S108
    tallies = {kind: Tally(name) for kind, name in JOBS.items()}
    manifest = manifest_of(corpus)
    for outcome in supervised.outcomes(jobs_of(corpus)):
        wrong = is_wrong(corpus, manifest, outcome)
        tally = tallies[outcome.job.split(" ", 1)[0]]
        if tally is tallies["pillow"]:  # which takes memory itself
            outcome = replace(outcome, megabytes=0.0)  # noqa: PLW2901
        tally.add(outcome, wrong=wrong, slow_seconds=SLOW_SECONDS)
        odd = outcome.kind in ("crash", "timeout", "traceback")
        if odd or wrong or outcome.seconds > SLOW_SECONDS or outcome.megabytes > MOST_MEGABYTES:
            print(f"{outcome.kind}: {outcome.job}: {outcome.text[-1000:]}", file=sys.stderr)
    done = [tally for tally in tallies.values() if tally.jobs]
    print(f"{len(manifest)} files, {datetime.now(UTC):%Y-%m-%d}\n")
    supervised.print_table(done, SLOW_SECONDS, "not as expected")
    listed = DEVIATIONS.keys() & images_of(corpus).keys()
    print(
        f"\n{len(listed)} of the images are read or refused otherwise than the manifest says, each for a reason."
    )
    executed = {*glob.glob("/tmp/CANARY*")} - canaries  # noqa: PTH207, S108
    print(f"{len(executed)} payloads were executed.")
    return int(bool(executed) or any(tally.failed(MOST_MEGABYTES) for tally in done))


if __name__ == "__main__":
    known = ROOT / "tests" / "data" / "hostile" / "valid"
    warm_up = [f"{kind} {file}" for file in sorted(known.rglob("*.*"))[:1] for kind in JOBS]
    sys.exit(supervised.serve(do_one, warm_up) if sys.argv[1:] == ["--worker"] else main())
