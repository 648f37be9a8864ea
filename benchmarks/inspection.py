"""Whether `ucdir inspect` is right: which fault, how strong, and what restoring loses by its estimates.

    python benchmarks/inspection.py made PHOTOS              # clean photographs, and what the generators make of them
    python benchmarks/inspection.py real DATA                # real photos, by folder
    python benchmarks/inspection.py restored PHOTOS          # LPIPS with the scalars found, the true ones, and none
    python benchmarks/inspection.py time PHOTO               # milliseconds

PHOTOS are those of scripts/inspection_samples.py, of which the fifth is taken that it leaves out.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ucdir.data.photos import find_photos, rgb8
from ucdir.degradations import BlurGenerator, JpegCompressionGenerator, LowLightGenerator, SceneBlur
from ucdir.degradations.scene_blur import length_of
from ucdir.evaluation.measure import load_metrics, measure
from ucdir.images import Photo, read
from ucdir.images.pixels import middle
from ucdir.inspection import Inspection, inspect
from ucdir.pipeline import RestorationPipeline, load
from ucdir.tasks import TASKS

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from inspection_samples import direction_of, is_held_out

Rgb8 = NDArray[np.uint8]

DEGRADED = {"jpeg": (1, 89), "blur": (4.0, 48.0), "noise": (3.0, 128.0)}
"""Strengths that count as degraded: JPEG quality, pixels, 8-bit levels."""
NOTHING: Rgb8 = np.empty((0, 0, 3), np.uint8)
TASK_OF = {"jpeg": "jpeg_restoration", "blur": "deblurring", "noise": "low_light"}
VERDICTS = ("nothing wrong", "jpeg", "blur", "noise")


class Case(NamedTuple):
    """A degraded photo."""

    clean: Rgb8
    pixels: Rgb8
    kind: str
    strength: float
    scalars: Mapping[str, float] = MappingProxyType({})
    """That the task of the kind takes."""
    name: str = ""
    angle: float = math.nan
    """Of straight motion, in degrees."""


def drawn(clean: Rgb8, kind: str, rng: np.random.Generator) -> Case:
    """A degradation of the generator's own range."""
    if kind == "jpeg":
        history = JpegCompressionGenerator().draw_history(rng)
        clean, degraded = history(clean)
        return Case(clean, degraded, kind, history.quality, {"jpeg_quality": float(history.quality)})
    if kind == "noise":
        noise = LowLightGenerator(white_probability=0).draw(rng)
        scalars = {name: float(getattr(noise, name)) for name in ("exposure_ratio", "gain", "noise_strength")}
        return Case(noise.long_exposure(clean), noise(clean), kind, noise.noise_strength, scalars)
    while True:
        blur = BlurGenerator().draw(rng)
        if isinstance(blur, SceneBlur) and blur.objects:
            continue  # the length of its blur is not one number
        sharp, blurred = blur(clean) if isinstance(blur, SceneBlur) else (clean, blur(clean))
        length = length_of(blur.camera, blur.offset) if isinstance(blur, SceneBlur) else blur.blur_length
        scalars = {"blur_type": blur.blur_type, "blur_length": length}
        return Case(sharp, blurred, kind, length, scalars, angle=direction_of(blur))


def cases(photos: Path, side: int, each: int) -> Iterator[Case]:
    """Each photo as it is, and degraded in each way, of any strength."""
    for file in find_photos(photos):
        if not is_held_out(file.name):
            continue
        clean = middle(rgb8(file), side)
        yield Case(clean, clean, "nothing wrong", 0, name=file.name)
        for kind in DEGRADED:
            for number in range(each):
                rng = np.random.default_rng([number, zlib.crc32(f"{kind} {file.name}".encode())])
                case = drawn(clean, kind, rng)
                yield case._replace(name=file.name)


def counts_as_degraded(case: Case) -> bool:
    """Whether it is strong enough, or as it was."""
    if case.kind not in DEGRADED:
        return True
    low, high = DEGRADED[case.kind]
    return low <= case.strength <= high


def strength_found(found: Inspection, kind: str) -> float:
    """What was found of a kind; NaN where nothing was."""
    value = {"jpeg": found.jpeg.quality, "blur": found.blur.length, "noise": found.noise.std}.get(kind)
    return float("nan") if value is None else float(value)


def print_confusion(pairs: list[tuple[str, str]]) -> None:
    """A table of what was said of what."""
    print(f"\n| | n | {' | '.join(VERDICTS)} |\n|---|---|{'---|' * len(VERDICTS)}")
    for kind in VERDICTS:
        own = [said for true, said in pairs if true == kind]
        if own:
            shares = " | ".join(f"{own.count(verdict) / len(own):.1%}" for verdict in VERDICTS)
            print(f"| {kind} | {len(own)} | {shares} |")
    print(f"\nright: {np.mean([true == said for true, said in pairs]):.1%} of {len(pairs)}")


def made(arguments: argparse.Namespace) -> None:
    """Clean photographs, and what the generators make of them."""
    found = []
    for case in cases(arguments.photos, arguments.side, arguments.each):
        result = inspect(Photo(case.pixels))
        found.append((case._replace(pixels=NOTHING, clean=NOTHING), result))
        if arguments.wrong and counts_as_degraded(case) and result.verdict != case.kind:
            said = f"{result.verdict} {result.confidence:.2f}, {result.reason}"
            print(f"{case.name} {case.kind} {case.strength:.3g}: {said}")
    strong = [(case, result) for case, result in found if counts_as_degraded(case)]
    print_confusion([(case.kind, result.verdict) for case, result in strong])
    print("\n| found as such, by strength | | | | | | |\n|---|---|---|---|---|---|---|")
    for kind, edges in (
        ("jpeg", (1, 20, 40, 60, 75, 90, 96)),
        ("blur", (0, 1.5, 3, 4, 8, 16, 33)),
        ("noise", (0, 1.2, 2, 3, 8, 25, 129)),
    ):
        shares = []
        for low, high in pairwise(edges):
            own = [
                result.verdict == kind
                for case, result in found
                if case.kind == kind and low <= case.strength < high
            ]
            shares.append(f"{low:g} to {high:g}: {np.mean(own):.0%} of {len(own)}" if own else "")
        print(f"| {kind} | {' | '.join(shares)} |")
    print("\n| strength | within | of those found | median error |\n|---|---|---|---|")
    for kind, bound, relative in (("jpeg", 5, False), ("noise", 0.2, True), ("blur", 0.3, True)):
        own = [(case.strength, strength_found(result, kind)) for case, result in strong if case.kind == kind]
        true, said = np.array(own, float).T
        error = np.abs(said - true) / (true if relative else 1)
        seen = np.isfinite(said)
        share = np.mean(error[seen] <= bound)
        print(f"| {kind} | {bound:g} | {share:.1%} of {seen.sum()} | {np.median(error[seen]):.3g} |")
    kinds = [
        (case.scalars["blur_type"], float(result.blur.kind == "defocus"))
        for case, result in strong
        if case.kind == "blur" and result.blur.length is not None
    ]
    print(f"\nmotion or defocus: {np.mean([true == said for true, said in kinds]):.1%} of {len(kinds)} right")
    off = [
        abs((result.blur.angle - case.angle + 90) % 180 - 90)
        for case, result in strong
        if result.blur.angle is not None and math.isfinite(case.angle)
    ]
    print(
        f"direction of straight motion: median error {np.median(off):.0f}°, "
        f"more than 25° for {np.mean(np.array(off) > 25):.0%} of {len(off)}"
    )


def real_files(data: Path) -> Iterator[tuple[str, str, Path]]:
    """Group, verdict that is right, file."""
    groups = (
        ("real JPEG files", "jpeg", data / "eval/real/jpeg", "*"),
        ("RNI15", "noise", data / "eval/real/noisy", "*"),
        ("GoPro, blurred", "blur", data / "gopro/eval/blur", "*"),
        ("GoPro, blurred (train)", "blur", data / "gopro/train/blur", "*"),
        ("GoPro, sharp", "nothing wrong", data / "gopro/eval/sharp", "*"),
        ("GoPro, sharp (train)", "nothing wrong", data / "gopro/train/sharp", "*"),
        ("PolyU, noisy", "noise", data / "noise/polyu", "Canon[58]*_real.*"),
        ("PolyU, mean, JPEG files of quality 75", "jpeg", data / "noise/polyu", "Canon[58]*_mean.*"),
        ("PolyU, noisy (cameras of the training)", "noise", data / "noise/polyu", "[!C]*_real.*"),
        ("LIVE1", "nothing wrong", data / "eval/live1", "*"),
    )
    for name, verdict, folder, pattern in groups:
        yield from ((name, verdict, file) for file in sorted(folder.glob(pattern)) if file.is_file())
    yield from (
        ("photos, held out", "nothing wrong", file)
        for file in find_photos(data / "photos")
        if is_held_out(file.name)
    )


def real(arguments: argparse.Namespace) -> None:
    """Real photos, by folder."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for group, verdict, file in real_files(arguments.data):
        found = inspect(read(file))
        rows.setdefault(group, []).append((verdict, found.verdict))
        if arguments.wrong and found.verdict != verdict:
            print(f"{group}, {file.name}: {found.verdict} {found.confidence:.2f}, {found.reason}")
    print(f"\n| | n | right | {' | '.join(VERDICTS)} |\n|---|---|---|{'---|' * len(VERDICTS)}")
    for group, pairs in rows.items():
        said = [found for _, found in pairs]
        shares = " | ".join(str(said.count(verdict)) for verdict in VERDICTS)
        print(f"| {group} | {len(pairs)} | {np.mean([a == b for a, b in pairs]):.0%} | {shares} |")
    every = [pair for pairs in rows.values() for pair in pairs]
    print(
        f"\nright: {np.mean([a == b for a, b in every]):.1%} of {len(every)}; mean of the groups "
        f"{np.mean([np.mean([a == b for a, b in pairs]) for pairs in rows.values()]):.1%}"
    )
    by_verdict = [np.mean([b == verdict for a, b in every if a == verdict]) for verdict in VERDICTS]
    print(f"mean of the verdicts {np.mean(by_verdict):.1%}")


def restored(arguments: argparse.Namespace) -> None:
    """LPIPS with the scalars that are found, the true ones, and none; the model is that of the scalars."""
    (lpips,) = load_metrics(["lpips"])
    models: dict[str, RestorationPipeline] = {}
    totals: dict[str, list[list[float]]] = {}
    for case in cases(arguments.photos, arguments.side, 1):
        if case.kind not in DEGRADED or not counts_as_degraded(case):
            continue
        rows = totals.setdefault(case.kind, [])
        if len(rows) == arguments.images:
            continue
        found = inspect(Photo(case.pixels))
        if found.verdict != case.kind:
            print(f"{case.name} {case.kind} {case.strength:.3g}: {found.verdict}")
            continue
        task, values = TASK_OF[case.kind], [measure(lpips, case.pixels, case.clean)]
        for scalars in (case.scalars, found.scalars, {}):
            name = TASKS[task].pretrained(scalars)
            models[name] = models.get(name) or load(name)
            known = {n: value for n, value in scalars.items() if n in models[name].engine.scalars}
            values.append(measure(lpips, models[name](case.pixels, scalars=known), case.clean))
        rows.append(values)
        if arguments.wrong:
            print(f"{case.name} {dict(case.scalars)} {found.scalars}: {values}")
    print("\n| | n | degraded | true | found | none | found to true |\n|---|---|---|---|---|---|---|")
    for kind, rows in totals.items():
        means = np.mean(rows, axis=0)
        print(
            f"| {kind} | {len(rows)} | {' | '.join(f'{v:.4f}' for v in means)} | {means[2] / means[1] - 1:+.1%} |"
        )


def timed(arguments: argparse.Namespace) -> None:
    """Milliseconds of CPU time, without decoding the file."""
    photo = read(arguments.photo)
    inspect(photo)
    times = []
    for _ in range(20):
        began = time.process_time()
        inspect(photo)
        times.append(1000 * (time.process_time() - began))
    height, width = photo.pixels.shape[:2]
    best = min(times)
    print(f"{width}x{height}: {best:.0f} ms of CPU time, {best * 1e6 / (height * width):.1f} ms a megapixel")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("made")
    command.add_argument("photos", type=Path)
    command.add_argument("--side", type=int, default=768)
    command.add_argument("--each", type=int, default=1)
    command.add_argument("--wrong", action="store_true", help="name those that are wrong")
    command.set_defaults(run=made)
    command = commands.add_parser("real")
    command.add_argument("data", type=Path)
    command.add_argument("--wrong", action="store_true", help="name those that are wrong")
    command.set_defaults(run=real)
    command = commands.add_parser("restored")
    command.add_argument("photos", type=Path)
    command.add_argument("--side", type=int, default=256)
    command.add_argument("--images", type=int, default=12, help="of each kind")
    command.add_argument("--wrong", action="store_true", help="print each")
    command.set_defaults(run=restored)
    command = commands.add_parser("time")
    command.add_argument("photo", type=Path)
    command.set_defaults(run=timed)
    chosen = parser.parse_args()
    chosen.run(chosen)
