"""Samples for the classifier of `ucdir inspect`: crops of clean photographs, degraded in every way, and what was done.

    python scripts/inspection_samples.py make PHOTOS SAMPLES.npz --each 20
    python scripts/inspection_samples.py pairs POLYU PAIRS.npz

scripts/train_inspection.py trains with them. A fifth of the photographs, by a checksum of their names, is left out
(`is_held_out`); benchmarks/inspection.py measures with these.
"""

from __future__ import annotations

import argparse
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ucdir.data.documents import document
from ucdir.data.photos import find_photos, rgb8
from ucdir.degradations import (
    BlurGenerator,
    DefocusBlur,
    DevelopedNoise,
    JpegCompression,
    JpegCompressionGenerator,
    LowLightGenerator,
    MotionBlur,
    SceneBlur,
    WhiteNoise,
)
from ucdir.degradations.scene_blur import length_of
from ucdir.inspection.features import features
from ucdir.inspection.patches import choose_patches

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


def cropped(
    photo: Rgb8, rng: np.random.Generator, longest: int, documents: float = 0.05, *, soft: bool
) -> Rgb8:
    """A crop of any size and scale, in which something is sharp; sometimes a drawn page, or grey.

    Soft ones are enlarged: as photos leave cameras at full size, every pixel interpolated.
    """
    if rng.random() < documents and not soft:
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
    lengths = (0.0, 40.0) if rng.random() < 0.75 else (1.5, 14.0)
    blur = BlurGenerator(lengths=lengths, defocus_probability=0.22, objects_probability=0.3).draw(rng)
    known["defocus"], known["angle"] = blur.blur_type, direction_of(blur)
    if isinstance(blur, SceneBlur):
        known["length"], known["unsure"] = length_of(blur.camera, blur.offset), float(bool(blur.objects))
        result = blur(crop)[1]
    else:
        known["length"], result = blur.blur_length, blur(crop)
    effects, grey = blur.effects, 0.2140  # light of sRGB 0.5, where the tone curve has the slope of 1.08
    known["noise"] = 255 * 1.08 * math.sqrt(effects.shot * grey + effects.read)
    if effects.jpeg_quality is not None:
        known["quality"] = float(effects.jpeg_quality)
    return result


def direction_of(blur: MotionBlur | SceneBlur | DefocusBlur) -> float:
    """Of the motion of the image's centre, in degrees from the horizontal, anticlockwise, 0 to 180; NaN if it has none,
    or its path is not straight."""
    if isinstance(blur, DefocusBlur):
        return math.nan
    x, y = blur.offset
    if isinstance(blur, SceneBlur):
        right, down, turn, growth = blur.camera.T
        path = right + growth * x - turn * y, -(down + growth * y + turn * x)
    else:  # to first order
        f, (yaw, pitch, roll) = blur.focal_length, blur.rotations.T
        path = (
            yaw * (f + x * x / f) + pitch * x * y / f - roll * y,
            -(pitch * (f + y * y / f) + yaw * x * y / f + roll * x),
        )
    values, vectors = np.linalg.eigh(np.cov(path))
    if values[1] < 1e-12 or values[0] > 0.1 * values[1]:
        return math.nan
    return float(math.degrees(math.atan2(vectors[1, 1], vectors[0, 1])) % 180)


def _noisy(crop: Rgb8, rng: np.random.Generator, known: dict[str, float]) -> Rgb8:
    if rng.random() < 0.3:
        std = math.exp(rng.uniform(math.log(2), math.log(110))) if rng.random() < 0.5 else rng.uniform(2, 110)
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
    return WhiteNoise(std, grey=rng.random() < 0.2, seed=int(rng.integers(2**63)))(crop)


def samples(files: list[Path], each: int, seed: int, shares: list[float], documents: float) -> Any:
    """Yields (pixels, labels); `shares` of the kinds."""
    for number, file in enumerate(files):
        rng = np.random.default_rng([seed, zlib.crc32(file.name.encode())])
        photo = rgb8(file)
        for _ in range(each):
            kind, soft = int(rng.choice(len(KINDS), p=shares)), rng.random() < 0.15
            longest = 1100 if rng.random() < 0.12 else 512
            result, known = degraded(cropped(photo, rng, longest, documents, soft=soft), rng, KINDS[kind])
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
    files = [file for file in find_photos(arguments.photos) if is_held_out(file.name) == arguments.held_out]
    vectors, maps, labels = [], [], []
    for count, (pixels, known) in enumerate(
        samples(files, arguments.each, arguments.seed, arguments.shares, arguments.documents)
    ):
        chosen = choose_patches(pixels)
        if chosen is None:
            continue
        if arguments.keep is not None:
            np.save(arguments.keep / f"{count:06d}.npy", pixels)
        vector, spectrum, _ = features(chosen)
        vectors.append(vector)
        maps.append(spectrum.astype(np.float16))
        labels.append(known)
        if count % 200 == 0:
            print(count, len(files) * arguments.each, flush=True)
    write(arguments.samples, vectors, maps, labels)


def write(file: Path, vectors: list[Any], maps: list[Any], labels: list[Any]) -> None:
    """A file of samples."""
    np.savez(
        file,
        features=np.array(vectors, np.float32),
        spectra=np.array(maps, np.float16),
        labels=np.array(labels, np.float64),
    )


def pairs(arguments: argparse.Namespace) -> None:
    """The same of real pairs: PolyU's photos of three cameras, noisy and the mean of many, JPEG files of quality 75."""
    rng, vectors, maps, labels = np.random.default_rng(0), [], [], []
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
                    vector, spectrum, _ = features(chosen)
                    vectors.append(vector)
                    maps.append(spectrum.astype(np.float16))
                    correlated = 1.0 if strength else math.nan
                    kind = float(3 * (strength > 0))
                    labels.append(
                        [75.0, strength, 0.0, math.nan, math.nan, correlated, 1.0, 0.0, kind, 0.0, 0.0]
                    )
    write(arguments.samples, vectors, maps, labels)


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
    command.add_argument(
        "--shares", type=float, nargs=5, default=[0.22, 0.1, 0.42, 0.2, 0.06], help=f"of {', '.join(KINDS)}"
    )
    command.add_argument("--documents", type=float, default=0.05, help="share of drawn pages")
    command.add_argument("--held-out", action="store_true")
    command.add_argument("--keep", type=Path, help="folder for the samples' pixels, for experiments")
    command.set_defaults(run=make)
    command = commands.add_parser("pairs")
    command.add_argument("folder", type=Path)
    command.add_argument("samples", type=Path)
    command.set_defaults(run=pairs)
    chosen = parser.parse_args()
    chosen.run(chosen)
