"""Trains the classifier of `ucdir inspect`: crops of clean photographs, degraded in every way, and what was done.

    python scripts/train_inspection.py make PHOTOS SAMPLES.npz --each 20      # features and labels, the longest part
    python scripts/train_inspection.py pairs POLYU PAIRS.npz
    python scripts/train_inspection.py fit SAMPLES.npz... PAIRS.npz... -o src/ucdir/weights/inspection.safetensors

A file that is named several times counts as often: of the weights in the package, the pairs four times, and samples of
enlarged photos alone twice. Of their samples, 12,700 were made when blurs were fewer and shorter.

A fifth of the photographs, by a checksum of their names, is left out (`is_held_out`); benchmarks/inspection.py
measures with these.
"""

from __future__ import annotations

import argparse
import math
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ucdir.data.documents import document
from ucdir.data.photos import find_photos, rgb8
from ucdir.degradations import (
    BlurGenerator,
    DevelopedNoise,
    JpegCompression,
    JpegCompressionGenerator,
    LowLightGenerator,
    SceneBlur,
)
from ucdir.degradations.scene_blur import length_of

Rgb8 = NDArray[np.uint8]

LABELS = (
    "quality",
    "noise",
    "length",
    "defocus",
    "angle",
    "correlated",
    "ratio",
    "unsure",
    "kind",
    "grey",
    "photo",
)
"""Of each sample; NaN where it is not known. Noise and length are 0 and quality 100 where there is none."""
KINDS = ("clean", "jpeg", "blur", "noise", "mixed")


TRAINED_CAMERAS = ("NikonD800", "Canon600D", "Sony")
"""Of PolyU; its other two are left out."""


def is_held_out(name: str) -> bool:
    """Whether a photograph is left out of the training."""
    return zlib.crc32(name.encode()) % 5 == 0


def cropped(photo: Rgb8, rng: np.random.Generator, longest: int, *, soft: bool) -> Rgb8:
    """A crop of any size and scale, in which something is sharp; sometimes a drawn page, or grey.

    Soft ones are enlarged: as photos leave cameras at full size, every pixel interpolated.
    """
    if rng.random() < 0.05 and not soft:
        return np.ascontiguousarray(document(rng, int(rng.integers(192, 640))))
    scale = float(rng.choice([1, rng.uniform(0.35, 0.95), rng.uniform(1, 1.15)], p=[0.62, 0.3, 0.08]))
    if soft:
        scale = rng.uniform(1.3, 2.2)
    sides = [
        min(int(size * scale), int(math.exp(rng.uniform(math.log(256), math.log(longest)))))
        for size in photo.shape[:2]
    ]
    take = [min(size, round(side / scale)) for side, size in zip(sides, photo.shape[:2], strict=True)]
    crops = []
    for _ in range(4 if rng.random() < 0.9 else 1):
        top, left = (
            int(rng.integers(size - part + 1)) for size, part in zip(photo.shape[:2], take, strict=True)
        )
        crops.append(photo[top : top + take[0], left : left + take[1]])
    crop = max(crops, key=_sharpness)
    if scale != 1:
        filters = Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
        crop = np.asarray(Image.fromarray(crop).resize((sides[1], sides[0]), filters[int(rng.integers(3))]))
    if rng.random() < 0.08:
        crop = np.asarray(Image.fromarray(crop).convert("L").convert("RGB"))
    return np.ascontiguousarray(crop)


def _sharpness(crop: Rgb8) -> float:
    """Of the sharpest tenth of its rows' parts."""
    rows = crop[::8, :, 1].astype(np.int16)
    fine = np.abs(2 * rows[:, 1:-1] - rows[:, :-2] - rows[:, 2:])
    parts = fine[:, : fine.shape[1] // 32 * 32].reshape(len(fine), -1, 32).mean(axis=2)
    return float(np.percentile(parts, 90))


def degraded(crop: Rgb8, rng: np.random.Generator, kind: str) -> tuple[Rgb8, dict[str, float]]:
    """The crop, degraded, and what was done."""
    known = {"quality": 100.0, "noise": 0.0, "length": 0.0, "defocus": math.nan, "angle": math.nan,
             "correlated": math.nan, "ratio": 1.0, "unsure": 0.0}  # fmt: skip
    if kind == "clean":
        return _touched(crop, rng, known), known
    if kind == "jpeg":
        generator = JpegCompressionGenerator(
            qualities=(5, 95),
            focus_probability=0.6,
            twice_probability=0.15,
            resize_probability=0.08,
            shift_probability=0.15,
        )
        history = generator.draw_history(rng)
        top, left = rng.integers(0, 8, 2) if rng.random() < generator.shift_probability else (0, 0)
        _, result = history(np.pad(crop, ((top, 0), (left, 0), (0, 0)), mode="symmetric"))
        known["quality"] = float(history.quality)
        known["unsure"] = float(history.scale != 1 and history.quality > 40)
        return np.ascontiguousarray(result[top:, left:]), known
    if kind == "blur":
        return _blurred(crop, rng, known), known
    if kind == "noise":
        return _noisy(crop, rng, known), known
    first = rng.random()
    result = _blurred(crop, rng, known) if first < 0.4 else _noisy(crop, rng, known)
    if rng.random() < 0.7:
        quality = int(rng.integers(10, 85))
        result = JpegCompression(quality)(result)
        known["quality"] = min(known["quality"], float(quality))
    elif first < 0.4:
        std = math.exp(rng.uniform(math.log(2), math.log(25)))
        result = _white(result, std, rng)
        known["noise"], known["correlated"] = std, 0.0
    return result, known


def _touched(crop: Rgb8, rng: np.random.Generator, known: dict[str, float]) -> Rgb8:
    """What is done to photos that nothing is wrong with."""
    choice = rng.random(4)
    if choice[0] < 0.15:
        sharpened = Image.fromarray(crop).filter(
            ImageFilter.UnsharpMask(rng.uniform(0.6, 2), int(rng.integers(30, 150)), int(rng.integers(0, 4)))
        )
        crop = np.asarray(sharpened)
    if choice[1] < 0.15:
        crop = _white(crop, rng.uniform(0.3, 1.5), rng)
    if choice[2] < 0.35:
        quality = int(rng.integers(78, 99))
        crop = JpegCompression(quality, "4:2:0" if rng.random() < 0.7 else "4:4:4")(crop)
        known["quality"] = float(quality)
    return np.ascontiguousarray(crop)


def _blurred(crop: Rgb8, rng: np.random.Generator, known: dict[str, float]) -> Rgb8:
    lengths = (0.0, 32.0) if rng.random() < 0.75 else (1.5, 14.0)
    blur = BlurGenerator(lengths=lengths, defocus_probability=0.22).draw(rng)
    known["defocus"] = blur.blur_type
    if isinstance(blur, SceneBlur):
        known["length"] = length_of(blur.camera, blur.offset)
        known["unsure"] = float(bool(blur.objects))
        known["angle"] = _angle(blur.camera[:, 0], blur.camera[:, 1])
        result = blur(crop)[1]
    else:
        known["length"] = blur.blur_length
        if not blur.blur_type:
            known["angle"] = _angle(blur.rotations[:, 0], blur.rotations[:, 1])  # type: ignore[union-attr]
        result = blur(crop)
    effects, grey = blur.effects, 0.2140  # light of sRGB 0.5, where the tone curve has the slope of 1.08
    known["noise"] = 255 * 1.08 * math.sqrt(effects.shot * grey + effects.read)
    if effects.jpeg_quality is not None:
        known["quality"] = float(effects.jpeg_quality)
    return result


def _angle(right: NDArray[np.float64], down: NDArray[np.float64]) -> float:
    """Of a path's longest extent, in degrees from the horizontal, anticlockwise, 0 to 180; NaN if it has none."""
    covariance = np.cov(right, -down)
    values, vectors = np.linalg.eigh(covariance)
    if values[1] < 1e-12 or values[0] > 0.1 * values[1]:
        return math.nan
    return float(math.degrees(math.atan2(vectors[1, 1], vectors[0, 1])) % 180)


def _noisy(crop: Rgb8, rng: np.random.Generator, known: dict[str, float]) -> Rgb8:
    if rng.random() < 0.2:
        std = math.exp(rng.uniform(math.log(2), math.log(60)))
        known["noise"], known["correlated"] = std, 0.0
        return _white(crop, std, rng)
    noise = LowLightGenerator(strongest=128, white_probability=0).draw(rng)
    known["noise"], known["ratio"] = noise.noise_strength, noise.exposure_ratio
    known["correlated"] = 0.0
    if isinstance(noise, DevelopedNoise):
        known["correlated"] = float(not noise.resized or noise.luma != (1, 1, 1, 1))
        if noise.jpeg is not None:
            known["quality"] = float(noise.jpeg.quality)
    return noise(crop)


def _white(crop: Rgb8, std: float, rng: np.random.Generator) -> Rgb8:
    grey = rng.random() < 0.2
    noise = rng.normal(0, std, (*crop.shape[:2], 1) if grey else crop.shape)
    noisy: Rgb8 = np.rint(np.clip(crop + noise, 0, 255)).astype(np.uint8)
    return noisy


def samples(files: list[Path], each: int, seed: int) -> Any:
    """Yields (pixels, labels)."""
    for number, file in enumerate(files):
        rng = np.random.default_rng([seed, zlib.crc32(file.name.encode())])
        photo = rgb8(file)
        for _ in range(each):
            kind, soft = int(rng.choice(5, p=[0.2, 0.12, 0.34, 0.26, 0.08])), rng.random() < 0.15
            longest = 450 if KINDS[kind] in ("blur", "mixed") or soft else 560
            result, known = degraded(cropped(photo, rng, longest, soft=soft), rng, KINDS[kind])
            if soft:
                known["unsure"] += 0 < known["length"] < 6  # hardly to be told from what is soft
                if rng.random() < 0.5 and known["quality"] == 100:
                    known["quality"] = float(rng.integers(70, 93))
                    result = JpegCompression(int(known["quality"]))(result)
            known["unsure"] = min(known["unsure"], 1.0)
            grey = float(not (result[..., 0] != result[..., 1]).any() and kind < 3)
            if grey:
                result = np.ascontiguousarray(result[..., :1])
            yield result, [*known.values(), float(kind), grey, float(number)]


def make(arguments: argparse.Namespace) -> None:
    """Features and labels of many samples."""
    from ucdir.inspection.features import features
    from ucdir.inspection.patches import choose_patches

    files = [file for file in find_photos(arguments.photos) if is_held_out(file.name) == arguments.held_out]
    vectors, labels = [], []
    for count, (pixels, known) in enumerate(samples(files, arguments.each, arguments.seed)):
        chosen = choose_patches(pixels)
        if chosen is None:
            continue
        if arguments.keep is not None:
            np.save(arguments.keep / f"{count:06d}.npy", pixels)
        vectors.append(features(chosen)[0])
        labels.append(known)
        if count % 200 == 0:
            print(count, len(files) * arguments.each, flush=True)
    np.savez(arguments.samples, features=np.array(vectors, np.float32), labels=np.array(labels, np.float64))


def pairs(arguments: argparse.Namespace) -> None:
    """The same of real pairs: PolyU's photos of three cameras, noisy and the mean of many, JPEG files of quality 75."""
    from ucdir.inspection.features import features
    from ucdir.inspection.patches import choose_patches

    rng, vectors, labels = np.random.default_rng(0), [], []
    for file in sorted(arguments.folder.glob("*_real.*")):
        if not file.name.startswith(TRAINED_CAMERAS):
            continue
        noisy, clean = (rgb8(file.with_name(file.name.replace("_real", kind))) for kind in ("_real", "_mean"))
        std = float(np.sqrt((noisy.astype(np.float64) - clean).var(axis=(0, 1)).mean()))
        for pixels, strength in ((noisy, std), (clean, 0.0)):
            for number in range(3):
                top, left = (8 * int(n) for n in rng.integers(0, 19, 2)) if number else (0, 0)
                crop = np.ascontiguousarray(pixels[top:, left:])
                chosen = choose_patches(crop)
                if chosen is not None:
                    vectors.append(features(chosen)[0])
                    correlated = 1.0 if strength else math.nan
                    kind = float(3 * (strength > 0))
                    labels.append(
                        [75.0, strength, 0.0, math.nan, math.nan, correlated, 1.0, 0.0, kind, 0.0, 0.0]
                    )
    np.savez(arguments.samples, features=np.array(vectors, np.float32), labels=np.array(labels, np.float64))


# ------------------------------------------------------------------------------------------------------------ fitting

HARM = {
    "jpeg": ([5, 10, 20, 30, 40, 60, 80, 100], [0.43, 0.29, 0.17, 0.12, 0.095, 0.063, 0.03, 0]),
    "blur": ([0, 1.5, 3, 6, 12, 24, 48], [0, 0.03, 0.1, 0.22, 0.36, 0.5, 0.6]),
    "noise": ([0, 2, 5, 10, 25, 50, 128], [0, 0.045, 0.1, 0.17, 0.35, 0.55, 0.8]),
}
"""LPIPS of a degradation by its strength, about: which of two is the worse one. Noise counts for more than it has, as
the model for it undoes weak compression, too."""
SURE = {"jpeg": (92, 78), "blur": (1.5, 3.0), "noise": (1.2, 2.5)}
"""Strengths at which there is nothing to be undone, and there is; in between it is so to a part."""


def targets(labels: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """What the network is to say, and how much it counts."""
    known = dict(zip(LABELS, labels.T, strict=True))
    strength = {"jpeg": known["quality"], "blur": known["length"], "noise": known["noise"]}
    has = {name: np.clip((strength[name] - low) / (high - low), 0, 1) for name, (low, high) in SURE.items()}
    harm = {name: np.interp(strength[name], *HARM[name]) for name in HARM}
    worst = np.argmax(np.stack([harm[name] * (has[name] > 0) for name in HARM]), axis=0)
    share = np.stack([has[name] for name in HARM])[worst, np.arange(len(labels))]
    leading = np.zeros((len(labels), 4))
    leading[np.arange(len(labels)), 1 + worst] = share
    leading[:, 0] = 1 - share
    sure = 1 - known["unsure"]
    log_noise, log_length = (np.log(np.maximum(strength[name], 0.5)) for name in ("noise", "blur"))
    found = {
        "leading": leading, "sure": sure, "has": np.stack([has[name] for name in HARM], axis=1),
        "quality": known["quality"] / 100, "quality_counts": (known["quality"] < 96) * sure,
        "log_noise": log_noise, "noise_counts": strength["noise"] > 1,
        "log_length": log_length, "length_counts": (strength["blur"] > 1.5) * sure,
        "defocus": np.nan_to_num(known["defocus"]),
        "defocus_counts": np.isfinite(known["defocus"]) * (strength["blur"] > 3) * sure,
        "correlated": np.nan_to_num(known["correlated"]),
        "correlated_counts": np.isfinite(known["correlated"]) * (strength["noise"] > 3),
        "dark": known["ratio"] >= 50, "dark_counts": strength["noise"] > 3,
    }  # fmt: skip
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


COMPONENTS = 40
"""Principal components of the features of spectra that are kept."""
SPECTRAL, EDGES, OTHER = 480, 50, 124
"""How many features come first of spectra, then of edges, then of noise and JPEG."""
INPUTS = {
    "leading": (0, COMPONENTS + EDGES + OTHER), "jpeg": (COMPONENTS + EDGES, COMPONENTS + EDGES + OTHER),
    "blur": (0, COMPONENTS + EDGES + 76), "noise": (COMPONENTS + EDGES, COMPONENTS + EDGES + OTHER),
}  # fmt: skip
"""What each network sees: little that it need not, as it would learn that by heart."""
MIDDLE = {"quality": 0.6, "log_length": 2.3, "log_noise": 2.3}
"""What numbers are about, where their learning begins."""
DROPOUT = {"leading": 0.1, "jpeg": 0.1, "blur": 0.1, "noise": 0.0}
"""Where noise is strong, dropout makes what is found too weak by a fifth."""
JITTER = {"leading": 0.1, "jpeg": 0.1, "blur": 0.1, "noise": 0.03}
"""Standard deviation of what is added to the inputs."""
HIDDEN = {"leading": (64, 32), "jpeg": (32, 16), "blur": (64, 32), "noise": (48, 24)}


def fit(arguments: argparse.Namespace) -> None:
    """Trains the networks, and writes their weights."""
    import torch
    from safetensors.numpy import save_file

    from ucdir.inspection.network import HEADS, inputs

    torch.set_num_threads(1)
    files = [np.load(name) for name in arguments.samples]
    vectors = np.concatenate([file["features"] for file in files])
    labels = np.concatenate([file["labels"] for file in files])
    wanted = {name: torch.from_numpy(value) for name, value in targets(labels).items()}
    mean, std = vectors.mean(axis=0), vectors.std(axis=0) + 1e-3
    plain = inputs(vectors, mean, std, np.eye(SPECTRAL, dtype=np.float32))[:, :SPECTRAL]
    values, axes = np.linalg.eigh(np.cov(plain.T))
    basis = axes[:, -COMPONENTS:] / np.sqrt(values[-COMPONENTS:])
    saved = {"mean": mean, "std": std, "basis": basis}
    every = torch.from_numpy(inputs(vectors, mean, std, basis.astype(np.float32)))
    for head in HEADS:
        columns = np.arange(*INPUTS[head])
        saved[f"{head}.inputs"] = columns
        for n, (weight, bias) in enumerate(train(every[:, columns], head, wanted, arguments)):
            saved[f"{head}.{n}.weight"], saved[f"{head}.{n}.bias"] = weight.numpy(), bias.numpy()
    print(f"{len(labels)} samples, {sum(value.size for value in saved.values()):,} parameters")
    save_file(
        {name: np.ascontiguousarray(value, np.float32) for name, value in saved.items()}, arguments.output
    )


def train(inputs: Any, head: str, wanted: Any, arguments: argparse.Namespace) -> list[tuple[Any, Any]]:
    """The networks for one question, all at once: weight [members,out,in] and bias [members,out] of each layer."""
    import torch
    from torch.nn import functional as F

    from ucdir.inspection.network import HEADS

    members, rows = arguments.members, torch.nonzero(wanted["sure"] > 0)[:, 0]
    torch.manual_seed(0)
    sizes = inputs.shape[1], *HIDDEN[head], len(HEADS[head])
    weights = [torch.randn(members, out, n) * math.sqrt(2 / n) for n, out in pairwise(sizes)]
    biases = [torch.zeros(members, out) for out in sizes[1:]]
    weights[-1] *= 0.3
    biases[-1] += torch.tensor([MIDDLE.get(name, 0.0) for name in HEADS[head]])
    for values in (*weights, *biases):
        values.requires_grad_()
    groups = [{"params": weights, "weight_decay": arguments.decay}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=4e-3)
    steps = arguments.epochs * math.ceil(len(rows) / 256)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(arguments.epochs):
        total, orders = (
            torch.zeros(()),
            torch.stack([rows[torch.randperm(len(rows))] for _ in range(members)]),
        )
        for part in orders.split(256, dim=1):
            x = inputs[part]
            x = x + JITTER[head] * torch.randn_like(x)
            for weight, bias in zip(weights, biases, strict=True):
                x = torch.baddbmm(bias[:, None], x, weight.mT)
                if weight is not weights[-1]:
                    x = F.dropout(F.relu(x), DROPOUT[head])
            flat = part.flatten()
            loss = loss_of(head, x.flatten(0, 1), {name: values[flat] for name, values in wanted.items()})
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * part.shape[1]
    print(f"{head}: loss {float(total) / len(rows):.4f}", flush=True)
    return [(weight.detach(), bias.detach()) for weight, bias in zip(weights, biases, strict=True)]


def loss_of(head: str, outputs: Any, own: Any) -> Any:
    """Cross entropy of logits, and absolute errors of numbers, where they count."""
    from torch.nn import functional as F

    def counted(losses: Any, counts: Any) -> Any:
        return (losses * counts).sum() / len(counts)

    def binary(column: int, target: Any, counts: Any) -> Any:
        return counted(
            F.binary_cross_entropy_with_logits(outputs[:, column], target, reduction="none"), counts
        )

    def number(column: int, name: str, counts: Any) -> Any:
        return counted(F.smooth_l1_loss(outputs[:, column], own[name], reduction="none", beta=0.1), counts)

    if head == "leading":
        return counted(F.cross_entropy(outputs, own["leading"], reduction="none"), own["sure"])
    has = binary(0, own["has"][:, ("jpeg", "blur", "noise").index(head)], own["sure"])
    if head == "jpeg":
        return has + 4 * number(1, "quality", own["quality_counts"])
    if head == "blur":
        return (
            has
            + 3 * number(1, "log_length", own["length_counts"])
            + binary(2, own["defocus"], own["defocus_counts"])
        )
    return (
        has + 3 * number(1, "log_noise", own["noise_counts"])
        + sum(binary(column, own[name], own[f"{name}_counts"]) for column, name in ((2, "correlated"), (3, "dark")))
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make")
    command.add_argument("photos", type=Path)
    command.add_argument("samples", type=Path)
    command.add_argument("--each", type=int, default=20)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--held-out", action="store_true")
    command.add_argument("--keep", type=Path, help="folder for the samples' pixels, for experiments")
    command.set_defaults(run=make)
    command = commands.add_parser("pairs")
    command.add_argument("folder", type=Path)
    command.add_argument("samples", type=Path)
    command.set_defaults(run=pairs)
    command = commands.add_parser("fit")
    command.add_argument("samples", type=Path, nargs="+")
    command.add_argument("-o", "--output", type=Path, required=True)
    command.add_argument("--members", type=int, default=3)
    command.add_argument("--epochs", type=int, default=30)
    command.add_argument("--decay", type=float, default=0.05)
    command.set_defaults(run=fit)
    chosen = parser.parse_args()
    chosen.run(chosen)
