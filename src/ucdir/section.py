"""Base of every section of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of every section: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def problems(error: ValidationError, renamed: Mapping[str, str] | None = None) -> str:
    """Up to 20 problems in one line, each with key and value; `renamed` maps keys of earlier versions to the new."""
    return "; ".join(_problem(one, renamed or {}) for one in error.errors()[:20])


def _problem(error: Any, renamed: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in error["loc"])[:200]
    if key in renamed:
        return f"{key!r} is now {renamed[key]!r}"
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}: remove it or correct its spelling"
    if error["type"] == "missing":
        return f"{key!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    return message if not key else f"{key!r}: {message} (found {error['input']!r:.80})"
