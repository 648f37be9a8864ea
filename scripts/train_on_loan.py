"""Train for some minutes on a machine that is lent: pack what it needs, train there, bring back small files.

    python scripts/train_on_loan.py pack configs/jpeg_restoration.yaml --output loan --megabytes 40
    python scripts/train_on_loan.py train loan --output results --minutes 8        # there, or here to try it
    python scripts/train_on_loan.py resume results --output runs/longer            # back here

`pack` copies the configuration, the model it starts from, all of its pairs and frames, and as many of its photographs
as fit beside them, chosen by their names' hashes, so that every source is there in its share. `train` leaves the state,
with the averaged weights in half precision, in files of at most 16 MiB, and the log. `resume` makes a training's folder
and a model of them.
`--set training.batch_size=256` overrules the configuration.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from ucdir.config import Config, DataConfig, load_config, parse_config
from ucdir.config.presets import over
from ucdir.data.photos import find_photos
from ucdir.metrics.lpips import ALEXNET, HEADS_IN_FOLDER, heads_file
from ucdir.metrics.weights import WEIGHTS_VARIABLE
from ucdir.pth_file import tensors_of
from ucdir.training.export import export
from ucdir.training.loop import train
from ucdir.training.shards import join_checkpoint, split_checkpoint
from ucdir.training.source import pairs_of
from ucdir.training.state import FILE_NAME

EXPERIMENT = "experiment.yaml"


def pack(config: Path, output: Path, megabytes: float, settings: dict[str, Any]) -> None:
    """A folder with all that training needs."""
    experiment = load_config(config)
    experiment = parse_config(over(experiment.model_dump(mode="json"), settings), str(config))
    if experiment.data.photos is None:
        raise SystemExit("photographs are packed, and pairs and frames beside them: name data.photos")
    (output / "photos").mkdir(parents=True)
    packed = experiment.model_dump(mode="json")
    packed["data"] |= {"photos": "photos", "cache": None, **pack_pairs_and_frames(experiment.data, output)}
    initial = experiment.training.initial
    if initial is not None and Path(initial).is_dir():
        shutil.copytree(initial, output / "initial")
        packed["training"]["initial"] = "initial"
    if experiment.training.objective == "sampler_aware" and experiment.training.perceptual_weight:
        pack_lpips(output / "metric_weights")
    left = megabytes * 1e6 - sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    photos = find_photos(experiment.data.photos)
    for photo in sorted(photos, key=lambda p: hashlib.sha256(p.name.encode()).digest()):
        if photo.stat().st_size <= left:
            shutil.copy(photo, output / "photos" / photo.name)
            left -= photo.stat().st_size
    (output / EXPERIMENT).write_text(yaml.safe_dump(packed, sort_keys=False))
    count, size = len(list((output / "photos").iterdir())), sum(f.stat().st_size for f in output.rglob("*"))
    print(f"{count} of {len(photos)} photographs, {size / 1e6:.1f} MB in all, in {output}")


def pack_pairs_and_frames(data: DataConfig, output: Path) -> dict[str, str | None]:
    """Copies of all pairs and frames, and where they are now."""
    places: dict[str, str | None] = {}
    if data.has_pairs:
        pairs = pairs_of(data)
        if any(pair.scalars for pair in pairs):
            raise SystemExit("pairs whose scalars are in a list or in their names are not packed")
        for pair in pairs:
            for folder, file in (("degraded", pair.degraded), ("clean", pair.clean)):
                copied = output / folder / f"{pair.name}{file.suffix}"
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copied)
        places |= {"degraded": "degraded", "clean": "clean", "pairs": None}
    if data.frames is not None:
        for frame in find_photos(data.frames):
            copied = output / "frames" / frame.relative_to(data.frames)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(frame, copied)
        places["frames"] = "frames"
    return places


def pack_lpips(folder: Path) -> None:
    """The weights of LPIPS, without the nine tenths of AlexNet that it does not use."""
    file = ALEXNET.locate()
    heads = folder / HEADS_IN_FOLDER
    heads.parent.mkdir(parents=True)
    torch.save(
        {k: v for k, v in tensors_of(file).items() if k.startswith("features.")}, folder / ALEXNET.names[0]
    )
    shutil.copy(heads_file(file.parent), heads)


def train_there(pack: Path, output: Path, minutes: float, settings: dict[str, Any]) -> None:
    """Train within the minutes, and leave what is to be brought back in `output`."""
    output, work = output.resolve(), pack.resolve() / "work"
    os.chdir(pack)
    if Path("metric_weights").is_dir():
        os.environ[WEIGHTS_VARIABLE] = "metric_weights"
    config = with_settings(Path(EXPERIMENT), settings)
    checkpoint = train(config, work, minutes)
    for file in split_checkpoint(checkpoint, output):
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB")
    if (log := work / "log.jsonl").exists():
        shutil.copy(log, output)


def resume(results: Path, output: Path) -> None:
    """Make a training's folder of what was brought back, and a model of its averaged weights."""
    join_checkpoint(results, output / FILE_NAME)
    if (log := results / "log.jsonl").exists():
        shutil.copy(log, output)
    export(output / FILE_NAME, output / "model")
    print(f"ucdir restore --model {output / 'model'} PHOTO, or go on: ucdir train CONFIG --output {output}")


def with_settings(config: Path, settings: dict[str, Any]) -> Config:
    """A configuration with other settings laid over it."""
    return parse_config(over(yaml.safe_load(config.read_text()), settings), str(config))


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
    for name, source in (("pack", "config"), ("train", "pack"), ("resume", "results")):
        command = commands.add_parser(name)
        command.add_argument(source, type=Path)
        command.add_argument("--output", type=Path, required=True)
        if name != "resume":
            command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    commands.choices["pack"].add_argument("--megabytes", type=float, default=40)
    commands.choices["train"].add_argument("--minutes", type=float, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.command == "pack":
        pack(arguments.config, arguments.output, arguments.megabytes, nested(arguments.set))
    elif arguments.command == "train":
        train_there(arguments.pack, arguments.output, arguments.minutes, nested(arguments.set))
    else:
        resume(arguments.results, arguments.output)


if __name__ == "__main__":
    main()
