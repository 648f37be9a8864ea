"""Weights of metrics, which the package does not carry: found in a folder, or fetched once."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from ucdir.errors import WeightsError

logger = logging.getLogger(__name__)

WEIGHTS_VARIABLE: Final = "UCDIR_WEIGHTS"
"""Environment variable naming the folder of metric weights; if it is set, nothing is ever fetched."""


class MissingWeightsError(WeightsError):
    """A metric's weights are not there and cannot be fetched."""


@dataclass(frozen=True)
class Download:
    """A published file: its address, the names it may have in a folder, and the start of its SHA-256."""

    url: str
    names: tuple[str, ...]
    sha256: str
    needed_by: str
    """The metric that needs it, for messages."""

    @property
    def published_name(self) -> str:
        """Its name where it is published."""
        return self.url.rsplit("/", 1)[1]

    def locate(self, given: str | os.PathLike[str] | None = None) -> Path:
        """The given file, or the one in the given folder, in the folder named by UCDIR_WEIGHTS, or in torch's cache.

        Only the cache is filled from the network, once, and the download is checked against the hash.

        Raises:
            MissingWeightsError: it is not there, or cannot be fetched.
        """
        named = given if given is not None else os.environ.get(WEIGHTS_VARIABLE)
        if not named:
            return self._fetched(Path(torch.hub.get_dir()) / "checkpoints")
        path = Path(named)
        if path.is_file():
            return path
        for name in self.names:
            if (path / name).is_file():
                return path / name
        raise MissingWeightsError(
            f"{path}: no {' or '.join(self.names)} is here, which {self.needed_by} needs: {self._advice}"
        )

    @property
    def _advice(self) -> str:
        return f"download {self.url} into a folder and name the folder by the environment variable {WEIGHTS_VARIABLE}."

    def _fetched(self, cache: Path) -> Path:
        for name in self.names:
            if (cache / name).is_file():
                return cache / name
        target = cache / self.published_name
        logger.info("%s needs %s: fetching it into %s, once", self.needed_by, self.url, cache)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(self.url, str(target), hash_prefix=self.sha256, progress=False)
        except (OSError, RuntimeError, ValueError) as error:  # no network, another hash, or a full disk
            raise MissingWeightsError(
                f"{self.needed_by} needs {target.name}, which could not be fetched ({error}): {self._advice}"
            ) from None
        return target


def fill(module: nn.Module, tensors: dict[str, Tensor], file: Path, metric: str, fitting: str) -> None:
    """Load tensors into a network.

    Raises:
        WeightsError: they belong to another network.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(
            f"{file}: holds another network than the one {metric} uses; {fitting} fits."
        ) from error
