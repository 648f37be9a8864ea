"""Where the first frame of a GIF file lies, known before it is decoded."""

import struct
from dataclasses import dataclass
from typing import Final

MAX_BLOCKS: Final = 100_000
"""Most blocks before the first frame that are skipped; each holds up to 255 bytes of comment."""


@dataclass(frozen=True, slots=True)
class GifHeader:
    """Sizes and places in pixels: of the screen, and of the first frame on it."""

    width: int
    height: int
    left: int
    top: int
    frame_width: int
    frame_height: int

    @property
    def covered(self) -> bool:
        """Whether the first frame leaves nothing of the screen open."""
        return (
            self.left == self.top == 0 and self.frame_width >= self.width and self.frame_height >= self.height
        )


def gif_header(data: bytes) -> GifHeader:
    """Skips to the first frame.

    Raises:
        ValueError: there is none.
    """
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        within = False  # an extension, which is a chain of blocks that a block of length 0 ends
        for _ in range(MAX_BLOCKS):
            if within:
                within = data[at] != 0
                at += 1 + data[at]
            elif data[at] == 0x21:
                within = True
                at += 2
            elif data[at] == 0x2C:
                return GifHeader(width, height, *struct.unpack_from("<HHHH", data, at + 1))
            else:
                break
    except (struct.error, IndexError):
        pass
    raise ValueError("it has no frame")
