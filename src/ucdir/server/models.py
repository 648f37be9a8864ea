"""The models that requests may name: each is loaded once, when it is first needed. Requests never name a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ucdir.config.pipeline import PipelineConfig
from ucdir.engines import choose_engine, import_engine
from ucdir.errors import ConfigError
from ucdir.images.paths import shown
from ucdir.model.onnx_folder import read_config
from ucdir.model.pretrained import list_models, model_folder
from ucdir.pipeline import RestorationPipeline, load
from ucdir.tasks import TASKS
from ucdir.workflows.watched import Watch, Watched


class Models:
    """Models by name; `pipeline` is for the worker thread."""

    def __init__(self, own: Sequence[Path], **options: Any) -> None:
        """Check them.

        Args:
            own: folders; their names come before those of the pretrained models.
            options: of `pipeline.load`.

        Raises:
            WeightsError: one is missing or damaged.
            ConfigError: two have one name.
        """
        self._options = options
        self._folders: dict[str, Path] = {}
        for folder in (*own, *(model_folder(name) for name in sorted(list_models(), key=_defaults_first))):
            name = folder.resolve().name
            if name in self._folders:
                raise ConfigError(
                    f"--model {shown(folder)}: another model is named {name}; rename the folder."
                )
            self._folders[name] = folder
        self.configs: dict[str, PipelineConfig] = {name: read_config(f) for name, f in self._folders.items()}
        self._loaded: dict[str, RestorationPipeline] = {}

    @property
    def names(self) -> list[str]:
        """Those that are tried first come first."""
        return list(self._folders)

    def of_task(self, task: str) -> str:
        """The model that a task gets by default.

        Raises:
            ConfigError: there is none.
        """
        for name, config in self.configs.items():
            if config.task == task:
                return name
        raise ConfigError(f"task {task}: no model is for it.")

    def for_pretrained(self, name: str) -> str:
        """What is taken where a task would take this pretrained model: a model of one's own comes before it."""
        first = self.of_task(self.configs[name].task if name in self.configs else name)
        return name if first in TASKS else first

    def import_engines(self) -> None:
        """Import what runs networks, before there are several threads, in which importing can go wrong."""
        asked = [self._options.get(key, "auto") for key in ("device", "precision", "engine")]
        for name in {choose_engine(folder, *asked) for folder in self._folders.values()}:
            import_engine(name)

    def pipeline(
        self, model: str | None, watch: Watch, samples: int
    ) -> Watched | Callable[[str], RestorationPipeline]:
        """The pipeline of a model, watched; or a function that gives the one of a pretrained model's name."""
        if model is None:
            return lambda name: self._watched(self.for_pretrained(name), watch, samples)
        return self._watched(model, watch, samples)

    def _watched(self, name: str, watch: Watch, samples: int) -> Watched:
        if name not in self._loaded:
            self._loaded[name] = load(self._folders[name], **self._options)
        return Watched(self._loaded[name], watch, samples)


def _defaults_first(name: str) -> tuple[bool, str]:
    """The pretrained model that has the name of its task is the one that is taken for it."""
    return name not in TASKS, name
