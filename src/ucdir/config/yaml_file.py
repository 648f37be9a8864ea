"""Reads a YAML file that a person wrote: plain values, every key once, numbers as everybody writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ucdir.errors import ConfigError
from ucdir.limits import MAX_CONFIG_BYTES


def read_yaml(path: Path) -> object:
    """The contents of a YAML file.

    Raises:
        ConfigError: it cannot be read, or is not valid; with the line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            raise ConfigError(
                f"{path}: larger than {MAX_CONFIG_BYTES} bytes; this is not a configuration file."
            )
        return _PlainLoader(content.decode("utf-8")).get_single_data()
    except ConfigError:
        raise
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; configs/ holds examples to start from.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{path}{line}: is not valid YAML ({problem}).") from None


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, which are of no use here and can fill any memory, nor keys given twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            keys.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


# `1e-4` is a number to everybody but YAML 1.1, which wants 1.0e-4.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
