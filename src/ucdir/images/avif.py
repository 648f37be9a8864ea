"""What the boxes of an AVIF file tell that libvips does not pass on."""


def is_monochrome_avif(data: bytes) -> bool:
    """Whether every coded image in an AVIF file is grey, told from the configurations (av1C) in its header.

    An alpha channel is coded as a grey image of its own, so one grey image does not say enough.
    """
    found, at = False, data.find(b"av1C")
    while 0 <= at < len(data) - 6:
        if not data[at + 6] & 0x10:
            return False
        found, at = True, data.find(b"av1C", at + 4)
    return found


def frames_of_avif(data: bytes) -> int:
    """How many frames an image sequence (brand avis) has, told from its table of sizes (stsz); else 1."""
    at = data.find(b"stsz")
    if data[8:12] != b"avis" or at < 0:
        return 1
    return int.from_bytes(data[at + 12 : at + 16], "big")
