"""Trains the classifier of `ucdir inspect` with the samples that scripts/inspection_samples.py makes.

    python scripts/train_inspection.py SAMPLES.npz... PAIRS.npz... -o src/ucdir/weights/inspection.safetensors

A file that is named several times counts as often. The weights in the package are of the pairs, four times, and of

    --each 6 --seed 11 (to 16);  --each 3 --seed 22 --shares 0.35 0.15 0.05 0.4 0.05
    --each 2 --seed 20 --documents 1;  --each 4 --seed 21 --documents 1 --shares 0.32 0.4 0.1 0.12 0.06

and, for JPEG and noise alone, of 17,700 older samples without spectra, in which blurs are fewer and shorter. In all of
these white noise is at most 60 levels strong and rarer than now; noise was fitted once more (`--only noise`) with

    --each 4 --seed 31 --shares 0 0 0 1 0
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inspection_samples import LABELS
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ucdir.inspection.network import HEADS, SPECTRAL, STRIDES, leveled, standardised, standardised_spectra

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
        "turn": -np.nan_to_num(known["angle"]) * math.pi / 90,  # twice the angle, clockwise
        "turn_counts": np.isfinite(known["angle"]) * (strength["blur"] > 3) * sure,
    }  # fmt: skip
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


EDGES, OTHER = 50, 124
"""How many features come first of edges, then of noise and JPEG."""
INPUTS = {
    "leading": (0, EDGES + OTHER), "jpeg": (EDGES, EDGES + OTHER),
    "blur": (0, EDGES + 76), "noise": (EDGES, EDGES + OTHER),
}  # fmt: skip
"""What each network sees: little that it need not, as it would learn that by heart."""
MIDDLE = {"quality": 0.6, "log_length": 2.3, "log_noise": 2.3}
"""What numbers are about, where their learning begins."""
OFTEN_CLEAN = 0.8
"""Added to the logit of photos that nothing is wrong with, which are more of all photos than of the samples."""
DROPOUT = {"jpeg": 0.1, "noise": 0.0}
"""Where noise is strong, dropout makes what is found too weak by a fifth."""
JITTER = {"jpeg": 0.1, "noise": 0.03}
"""Standard deviation of what is added to the inputs."""
HIDDEN = {"leading": (48, 24), "jpeg": (32, 16), "blur": (32,), "noise": (48, 24)}
CHANNELS = (12, 20, 28)
"""Of the layers that see the spectra."""
SEEN = 40
"""Numbers that they are made to."""


def fit(arguments: argparse.Namespace) -> None:
    """Trains the networks, and writes their weights."""
    from safetensors.numpy import load_file, save_file

    torch.set_num_threads(1)
    files = [np.load(name) for name in arguments.samples]
    vectors = np.concatenate([file["features"] for file in files])
    labels = np.concatenate([file["labels"] for file in files])
    wanted = {name: torch.from_numpy(value) for name, value in targets(labels).items()}
    if arguments.only is None:
        saved = {"mean": vectors.mean(axis=0), "std": vectors.std(axis=0) + 1e-3}
    else:
        saved = load_file(arguments.output)
    every = torch.from_numpy(standardised(vectors, saved["mean"], saved["std"]))
    for head in ("jpeg", "noise") if arguments.only is None else (arguments.only,):
        saved[f"{head}.inputs"] = np.arange(*INPUTS[head])
        for n, (weight, bias) in enumerate(train(every[:, slice(*INPUTS[head])], head, wanted, arguments)):
            saved[f"{head}.{n}.weight"], saved[f"{head}.{n}.bias"] = weight.numpy(), bias.numpy()
    if arguments.only is None:
        maps = np.concatenate([file["spectra"] for file in files if "spectra" in file])
        some = torch.from_numpy(
            np.concatenate([np.full(len(file["labels"]), "spectra" in file) for file in files])
        )
        saved |= train_spectral(
            every[some], maps, {name: value[some] for name, value in wanted.items()}, arguments
        )
        saved[f"leading.{len(HIDDEN['leading'])}.bias"][:, 0] += OFTEN_CLEAN
    print(f"{len(labels)} samples, {sum(value.size for value in saved.values()):,} parameters")
    save_file(
        {name: np.ascontiguousarray(value, np.float32) for name, value in saved.items()}, arguments.output
    )


class Spectral(nn.Module):
    """The network that sees the spectra, and those that see what it makes of them."""

    def __init__(self, planes: int, bands: int) -> None:
        super().__init__()
        channels = planes, *CHANNELS
        self.convolution = nn.ModuleList(
            nn.Conv2d(n, out, (3, 5), stride)
            for (n, out), stride in zip(pairwise(channels), STRIDES, strict=True)
        )
        for _, across in STRIDES:
            bands = math.ceil(bands / across)
        self.seen = nn.Linear(2 * channels[-1] * bands + 1, SEEN)
        self.direction = nn.Parameter(torch.randn(channels[-1], bands) * 0.05)
        self.heads = nn.ModuleDict()
        for head in SPECTRAL:
            first, last = INPUTS[head]
            sizes = pairwise((SEEN + last - first, *HIDDEN[head], len(HEADS[head])))
            self.heads[head] = nn.ModuleList(nn.Linear(n, out) for n, out in sizes)
            with torch.no_grad():
                self.heads[head][-1].weight *= 0.3
                self.heads[head][-1].bias += torch.tensor([MIDDLE.get(name, 0.0) for name in HEADS[head]])

    def forward(self, planes: Tensor, level: Tensor, features: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """What the heads tell, and where motion points: cosine and sine of twice the angle, [N,2]."""
        x = planes
        for layer in self.convolution:
            x = F.pad(F.pad(x, (0, 0, 1, 1), mode="circular"), (2, 2, 0, 0), mode="replicate")
            x = F.relu(layer(x))
        shares = torch.softmax(torch.einsum("ncdb,cb->nd", x, self.direction), dim=1)
        turns = 2 * math.pi * torch.arange(shares.shape[1]) / shares.shape[1]
        pointing = torch.stack([shares @ torch.cos(turns), shares @ torch.sin(turns)], dim=1)
        pooled = torch.cat([x.mean(dim=2).flatten(1), x.amax(dim=2).flatten(1), level[:, None]], dim=1)
        seen = F.relu(self.seen(F.dropout(pooled, 0.15, self.training)))
        told = {}
        for head, layers in self.heads.items():
            y = torch.cat([seen, features[:, slice(*INPUTS[head])]], dim=1)
            for layer in layers:
                y = layer(F.dropout(y, 0.1, self.training))
                if layer is not layers[-1]:
                    y = F.relu(y)
            told[head] = y
        return told, pointing

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """By the names of `ucdir.inspection.network`."""
        return {
            name.removeprefix("heads.") + (".weight" if name == "direction" else ""): value.numpy()
            for name, value in self.state_dict().items()
        }


def train_spectral(
    features: Tensor, maps: NDArray[np.float16], wanted: dict[str, Tensor], arguments: argparse.Namespace
) -> dict[str, NDArray[np.float32]]:
    """The networks that see the spectra, one after another, by name [members,…]."""
    planes, level = leveled(maps.astype(np.float32))
    mean, std = (
        np.append(getattr(planes, part)(axis=(0, 2)).ravel(), getattr(level, part)())
        for part in ("mean", "std")
    )
    std += 1e-3
    inputs = [torch.from_numpy(part) for part in standardised_spectra(maps.astype(np.float32), mean, std)]
    members = []
    for member in range(arguments.members):
        torch.manual_seed(member)
        network = Spectral(planes.shape[1], planes.shape[3])
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.02)
        steps = arguments.epochs * (len(level) // 64)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for epoch in range(arguments.epochs):
            total = 0.0
            for rows in torch.randperm(len(level))[: len(level) // 64 * 64].split(64):
                own = {name: values[rows] for name, values in wanted.items()}
                x, own["turn"] = turned(inputs[0][rows], own["turn"])
                x, y, z = (
                    part + 0.1 * torch.randn_like(part) for part in (x, inputs[1][rows], features[rows])
                )
                told, pointing = network(x, y, z)
                way = pointing[:, 0] * torch.cos(own["turn"]) + pointing[:, 1] * torch.sin(own["turn"])
                loss = sum(loss_of(head, told[head], own) for head in told)
                loss = loss + 0.5 * ((1 - way) * own["turn_counts"]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
            if epoch % 5 == 4:
                print(f"{member}, epoch {epoch + 1}: loss {total / (len(level) // 64):.4f}", flush=True)
        members.append(network.arrays())
    return {
        "spectra_mean": mean, "spectra_std": std,
        **{f"{head}.inputs": np.arange(*INPUTS[head]) for head in SPECTRAL},
        **{name: np.stack([member[name] for member in members]) for name in members[0]},
    }  # fmt: skip


def turned(planes: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """The same, had the camera been turned, or the image mirrored."""
    steps = int(torch.randint(planes.shape[2], ()))
    planes, turn = planes.roll(steps, 2), turn + 2 * math.pi * steps / planes.shape[2]
    if torch.rand(()) < 0.5:
        planes, turn = planes.flip(2).roll(1, 2), -turn
    return planes, turn


def train(
    inputs: Tensor, head: str, wanted: Any, arguments: argparse.Namespace
) -> list[tuple[Tensor, Tensor]]:
    """The networks for one question, all at once: weight [members,out,in] and bias [members,out] of each layer."""
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


def loss_of(head: str, outputs: Tensor, own: dict[str, Tensor]) -> Tensor:
    """Cross entropy of logits, and absolute errors of numbers, where they count."""

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
    parser.add_argument("samples", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--only", choices=("jpeg", "noise"), help="fit this network alone, in a file that is there"
    )
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=17)
    parser.add_argument("--decay", type=float, default=0.05)
    fit(parser.parse_args())
