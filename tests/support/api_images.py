"""Hooks for schemathesis: which bytes a field of the format "binary" gets, and a name of its own for each request."""

import re
import secrets
from typing import Any

import schemathesis
from http_server import photo
from hypothesis import strategies

WHOLE = photo(16)
CUT = strategies.integers(0, len(WHOLE) - 1).map(lambda end: WHOLE[:end])

schemathesis.openapi.format(
    "binary", strategies.one_of(strategies.just(WHOLE), CUT, strategies.binary(max_size=64))
)


@schemathesis.hook
def before_call(_context: Any, case: Any, _arguments: Any) -> None:
    """A name may be used once; what is no name stays as it is."""
    name = (case.headers or {}).get("X-Request-ID")
    if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]{16,64}", name):
        case.headers["X-Request-ID"] = secrets.token_hex(16)
