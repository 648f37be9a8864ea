"""Train for some minutes on a machine that is lent: pack what it needs, train there, bring back small files.

    python scripts/train_on_loan.py pack configs/jpeg_restoration.yaml --output loan --megabytes 40
    python scripts/train_on_loan.py train loan --output results --minutes 8        # there, or here to try it
    python scripts/train_on_loan.py resume results --output runs/longer            # back here

`pack` copies the configuration, the model it starts from, all of its pairs and frames, and as many of its photographs
as fit beside them, chosen by their names' hashes, so that every source is there in its share. Where `data.most_shrunk`
has training shrink them anyway, large ones are shrunk by a part of that here, so that more fit; with
`--more 60` those that are left go into a second folder, `loan-more`, for a machine that is given so much at a time:

    python scripts/train_on_loan.py train loan loan-more --output results --minutes 8

Several configurations are packed together and trained beside each other, so that one keeps the GPU busy where another
waits. `train` leaves the state, with the averaged weights in half precision, in files of at most 16 MiB, and the log;
of several trainings the averaged weights alone, and of each every two minutes, lest it be ended early. `resume` makes a
training's folder and a model of them. `--set training.batch_size=256` overrules the configurations.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from ucdir.config import Config, DataConfig, load_config, parse_config
from ucdir.config.presets import over
from ucdir.config.yaml_file import read_yaml
from ucdir.data.photos import find_photos, rgb8
from ucdir.metrics.lpips import ALEXNET, HEADS_IN_FOLDER, heads_file
from ucdir.metrics.weights import WEIGHTS_VARIABLE
from ucdir.model.pretrained import model_folder
from ucdir.model.weights import save_model
from ucdir.pth_file import tensors_of
from ucdir.training.averaging import networks_with
from ucdir.training.checks import SAMPLED
from ucdir.training.export import export
from ucdir.training.loop import train
from ucdir.training.shards import join_checkpoint, split_checkpoint
from ucdir.training.source import pairs_of
from ucdir.training.state import FILE_NAME, read_metadata

NETWORKS = ("predictor", "diffusion_model")
SUFFIX = ".yaml"
LARGE = 900
"""Shorter side in pixels from which on a photograph is shrunk."""
SAVED_EVERY = 120.0
"""Seconds between the averaged weights that are left while training goes on."""


def pack(configs: list[Path], output: Path, megabytes: float, settings: dict[str, Any], more: float) -> None:
    """A folder with all that training needs and, if `more` is not 0, one of so many megabytes of photographs."""
    experiments = {file.stem: with_settings(file, settings) for file in configs}
    if len(experiments) < len(configs):
        raise SystemExit("configurations of one name would take each other's place: rename one")
    folders = {experiment.data.photos for experiment in experiments.values()}
    source = folders.pop()
    if folders or source is None:
        raise SystemExit("photographs are packed, and pairs and frames beside them: name one data.photos")
    once = min(experiment.data.most_shrunk for experiment in experiments.values()) ** 0.5
    output.mkdir(parents=True)
    for name, experiment in experiments.items():
        beside = output / f"{name}_data"
        packed = experiment.model_dump(mode="json")
        packed["data"] |= {
            "photos": "photos",
            "cache": None,
            **pack_pairs_and_frames(experiment.data, beside),
        }
        packed["data"]["most_shrunk"] /= once
        if experiment.training.initial is not None:
            shutil.copytree(model_folder(experiment.training.initial), beside / "initial")
            packed["training"]["initial"] = f"{beside.name}/initial"
        if experiment.training.objective in SAMPLED and experiment.training.perceptual_weight:
            pack_lpips(output / "metric_weights")
        (output / name).with_suffix(SUFFIX).write_text(yaml.safe_dump(packed, sort_keys=False))
    photos = sorted(find_photos(source), key=lambda p: hashlib.sha256(p.name.encode()).digest())
    left = pack_photos(photos, source, output, megabytes, once)
    if more:
        left = pack_photos(left, source, output.with_name(f"{output.name}-more"), more, once)
    print(f"{len(left)} of {len(photos)} photographs are left out")


def pack_photos(photos: list[Path], source: Path, output: Path, megabytes: float, once: float) -> list[Path]:
    """Fill a folder with photographs of a source, in its subfolders, up to its size; returns those that do not fit."""
    (output / "photos").mkdir(parents=True, exist_ok=True)
    room = megabytes * 1e6 - bytes_in(output)
    left: list[Path] = []
    for photo in photos:
        copied, data = output / "photos" / photo.relative_to(source), photo.read_bytes()
        if once > 1 and room > 0 and (smaller := shrunk(photo, once)) is not None:
            copied, data = copied.with_name(f"{photo.name}.avif"), smaller
        if len(data) <= room:
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(data)
            room -= len(data)
        else:
            left.append(photo)
    print(f"{len(photos) - len(left)} photographs, {bytes_in(output) / 1e6:.1f} MB in all, in {output}")
    return left


def shrunk(photo: Path, once: float) -> bytes | None:
    """A large photograph shrunk by `once` or its root, in turn by its name, as AVIF; None for a small one."""
    pixels = Image.fromarray(rgb8(photo))
    if min(pixels.size) < LARGE:
        return None
    factor = once ** (1 if hashlib.sha256(photo.name.encode()).digest()[0] % 3 else 0.5)
    size = round(pixels.width / factor), round(pixels.height / factor)
    file = io.BytesIO()
    pixels.resize(size, Image.Resampling.LANCZOS).save(file, "AVIF", quality=84, subsampling="4:4:4", speed=8)
    return file.getvalue()


def bytes_in(folder: Path) -> int:
    """How much a folder holds."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def pack_pairs_and_frames(data: DataConfig, output: Path) -> dict[str, str | None]:
    """Copies of all pairs and frames, and where they are now."""
    places: dict[str, str | None] = {}
    if data.has_pairs:
        pairs = pairs_of(data)
        if any(pair.scalars for pair in pairs):
            raise SystemExit("pairs whose scalars are in a list or in their names are not packed")
        for pair in pairs:
            for folder, file in (("degraded", pair.degraded), ("clean", pair.clean)):
                copied = output / folder / inside(f"{pair.name}{file.suffix}")
                if copied.exists():
                    raise SystemExit(f"{pair.name}: two pairs have this name; rename one of them")
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copied)
        places |= {"degraded": f"{output.name}/degraded", "clean": f"{output.name}/clean", "pairs": None}
    if data.frames is not None:
        for frame in find_photos(data.frames):
            copied = output / "frames" / frame.relative_to(data.frames)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(frame, copied)
        places["frames"] = f"{output.name}/frames"
    return places


def inside(name: str) -> Path:
    """A path that leads out of no folder, of a pair's name: those of a list may be absolute, or begin with `..`."""
    path = Path(name)
    return Path(*(part for part in path.parts if part not in (path.anchor, "..")))


def pack_lpips(folder: Path) -> None:
    """The weights of LPIPS, without the nine tenths of AlexNet that it does not use."""
    file = ALEXNET.locate()
    heads = folder / HEADS_IN_FOLDER
    heads.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {k: v for k, v in tensors_of(file).items() if k.startswith("features.")}, folder / ALEXNET.names[0]
    )
    shutil.copy(heads_file(file.parent), heads)


def train_there(packs: list[Path], output: Path, minutes: float, settings: list[str]) -> None:
    """Train within the minutes, and leave what is to be brought back in `output`."""
    until = time.time() + 60 * minutes
    first, *others = packs
    for other in others:
        shutil.copytree(other / "photos", first / "photos", dirs_exist_ok=True)
    names = sorted(file.stem for file in first.glob(f"*{SUFFIX}"))
    output.mkdir(parents=True, exist_ok=True)
    runs: dict[str, subprocess.Popen[bytes]] = {}
    for name in names:
        command = [sys.executable, __file__, "one", str(first), "--name", name, "--until", str(until)]
        options = [part for setting in settings for part in ("--set", setting)]
        with (output / f"{name}.txt").open("wb") as told:
            runs[name] = subprocess.Popen([*command, *options], stdout=told, stderr=subprocess.STDOUT)
    saved = time.time()
    while any(run.poll() is None for run in runs.values()):
        time.sleep(1)
        if saved + SAVED_EVERY < time.time() < until - SAVED_EVERY:
            saved = time.time()
            for name in names:
                leave_weights(first, name, output)
    for name, run in runs.items():
        print((output / f"{name}.txt").read_text()[-2000:])
        leave_weights(first, name, output)  # what was saved, also of one that has failed
        if len(names) == 1 and not run.returncode:
            for file in output.glob("*.safetensors"):
                file.unlink()
            split_checkpoint(first / "work" / name / FILE_NAME, output / "state")
    failed = [
        f"{name} ended with exit status {run.returncode}" for name, run in runs.items() if run.returncode
    ]
    if failed:
        raise SystemExit("; ".join(failed))
    for file in sorted(output.rglob("*.safetensors")):
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


def train_one(pack: Path, name: str, until: float, settings: dict[str, Any]) -> None:
    """One training of a pack, in this process, until a time in seconds of the clock."""
    os.chdir(pack)
    if Path("metric_weights").is_dir():
        os.environ[WEIGHTS_VARIABLE] = "metric_weights"
    torch.backends.cudnn.benchmark = True  # crops are of one size
    torch.set_float32_matmul_precision("high")
    config = with_settings(Path(f"{name}{SUFFIX}"), settings)
    train(config, Path("work", name), max(until - time.time(), 1) / 60)


def leave_weights(pack: Path, name: str, output: Path) -> None:
    """The averaged weights of a training so far, its configuration and its log; two files a network, or nothing yet."""
    work = pack / "work" / name
    if not (work / FILE_NAME).exists():
        return
    with tempfile.TemporaryDirectory(dir=pack) as folder:
        export(work / FILE_NAME, Path(folder, "model"))
        for network in NETWORKS:
            (weights,) = Path(folder, "model", network).glob("*.safetensors")
            shutil.copy(weights, Path(folder, "copied"))
            shutil.move(Path(folder, "copied"), output / f"{name}.{network}.safetensors")
    trained = read_metadata(work / FILE_NAME).config  # with the settings that overrule the pack's
    (output / f"{name}{SUFFIX}").write_text(yaml.safe_dump(trained.model_dump(mode="json"), sort_keys=False))
    if (log := work / "log.jsonl").exists():
        shutil.copy(log, output / f"{name}.jsonl")


def resume(results: Path, output: Path) -> None:
    """Make a model of what was brought back and, where the state is there, a training's folder."""
    for config in sorted(results.glob(f"*{SUFFIX}")):
        folder = output / config.stem
        if (results / "state").is_dir():
            join_checkpoint(results / "state", folder / FILE_NAME)
            export(folder / FILE_NAME, folder / "model")
            print(f"go on: ucdir train CONFIG --output {folder}")
        else:
            experiment = load_config(config)
            weights = {
                f"{network}.{name}": tensor
                for network in NETWORKS
                for name, tensor in load_file(results / f"{config.stem}.{network}.safetensors").items()
            }
            networks = networks_with(weights, experiment.model)
            save_model(folder / "model", *networks, experiment.pipeline)
        print(f"ucdir restore --model {folder / 'model'} PHOTO")


def with_settings(config: Path, settings: dict[str, Any]) -> Config:
    """A configuration with other settings laid over it."""
    values: Any = read_yaml(config)
    return parse_config(over(values, settings), str(config))


def nested(options: list[str]) -> dict[str, Any]:
    """training.batch_size=256 -> {"training": {"batch_size": 256}}."""
    settings: dict[str, Any] = {}
    for option in options:
        key, _, text = option.partition("=")
        value: Any = yaml.safe_load(text)
        for name in reversed(key.split(".")):
            value = {name: value}
        settings = over(settings, value)
    return settings


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, source, count in (
        ("pack", "configs", "+"),
        ("train", "packs", "+"),
        ("resume", "results", None),
    ):
        command = commands.add_parser(name)
        command.add_argument(source, type=Path, nargs=count)
        command.add_argument("--output", type=Path, required=True)
    one = commands.add_parser("one")  # as `train` starts each
    one.add_argument("pack", type=Path)
    one.add_argument("--name", required=True)
    one.add_argument("--until", type=float, required=True)
    commands.choices["pack"].add_argument("--megabytes", type=float, default=40)
    commands.choices["pack"].add_argument("--more", type=float, default=0, metavar="MEGABYTES")
    commands.choices["train"].add_argument("--minutes", type=float, required=True)
    for name in ("pack", "train", "one"):
        commands.choices[name].add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.command == "pack":
        settings = nested(arguments.set)
        pack(arguments.configs, arguments.output, arguments.megabytes, settings, arguments.more)
    elif arguments.command == "train":
        train_there(arguments.packs, arguments.output, arguments.minutes, arguments.set)
    elif arguments.command == "one":
        train_one(arguments.pack, arguments.name, arguments.until, nested(arguments.set))
    else:
        resume(arguments.results, arguments.output)


if __name__ == "__main__":
    main()
