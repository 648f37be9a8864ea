"""Words for messages: file names and library texts made safe to print on one line."""

import re
from pathlib import Path


def shown(path: Path) -> str:
    """A path as it is printed: control characters and undecodable bytes escaped, at most 200 characters."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(path))
    return text if len(text) <= 200 else f"{text[:90]}...{text[-100:]}"


def reason(error: BaseException) -> str:
    """The telling line of a decoder's message, at most 120 printable ASCII characters."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith("unable to ")]
    if not lines:
        return "the decoder gives no reason"
    text = re.sub(
        r"[^ -~]+", "?", re.sub(r"^(VipsJpeg|vips\w*|\w+load\w*|\w+2vips|\w+_buffer): ", "", lines[0])
    )
    return text.rstrip(".")[:120]
