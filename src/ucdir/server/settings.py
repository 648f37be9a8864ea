"""How `ucdir serve` runs."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ucdir.errors import ConfigError
from ucdir.images.paths import shown
from ucdir.limits import MAX_UPLOAD_BYTES

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a request may name as its host where the server is bound to a loopback address."""
BUILT_PAGE: Final = Path(__file__).with_name("page")
"""The page, where the package was built with one."""
TOKEN_VARIABLE: Final = "UCDIR_TOKEN"  # noqa: S105 (a name)


@dataclass(frozen=True)
class Settings:
    """How the server runs.

    Args:
        host: address that it is bound to.
        port: 0 is any free one.
        token: that every request under /v1 and of /metrics carries; None: none is needed.
        allowed_hosts: further names that requests may address it by, as behind a proxy.
        page: folder of the built page; None: `BUILT_PAGE`, if it is there.
        models: folders of models of one's own; each comes before the pretrained one of its task.
        device: as in `pipeline.load`.
        precision: as in `pipeline.load`.
        engine: as in `pipeline.load`.
        max_memory: as in `pipeline.load`.
        queue: how many requests may wait, beside the one that is worked on.
        max_upload: longest body of a request in bytes.
        time_limit: longest time in seconds that one request may be worked on.
        temporary: folder for uploads; None: the system's.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    page: Path | None = None
    models: tuple[Path, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    max_memory: str | None = None
    queue: int = 8
    max_upload: int = MAX_UPLOAD_BYTES
    time_limit: float = 1800.0
    temporary: Path | None = None

    def __post_init__(self) -> None:
        if self.token is None and not self.is_loopback:
            raise ConfigError(
                f"--host {self.host:.80}: others can reach this address, so requests need a token: name a file that "
                f"holds it with --token, or set {TOKEN_VARIABLE}."
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> frozenset[str] | None:
        """Names that requests may address the server by, without port; None: any."""
        if self.is_loopback:
            return LOOPBACK_NAMES | {self.host} | set(self.allowed_hosts)
        return frozenset(self.allowed_hosts) or None


def read_token(file: Path | None) -> str | None:
    """The token in a file, or else in the environment; never in the command line, which other users can see.

    Raises:
        ConfigError: the file cannot be read, or the token is too short or not printable ASCII.
    """
    if file is None:
        where, token = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE)
        if token is None:
            return None
    else:
        where = f"--token {shown(file)}"
        try:
            token = file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConfigError(f"{where}: cannot be read ({error.strerror}); name a file.") from error
        except ValueError as error:
            raise ConfigError(f"{where}: holds no token of letters and digits.") from error
    if len(token) < 16 or not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"{where}: a token is 16 or more letters and digits without spaces; make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token
