"""TIFF files that no writer at hand makes: any tags, uncompressed, one strip."""

import struct


def shorts(*values):
    return 3, len(values), struct.pack(f"<{len(values)}H", *values)


def long(value):
    return 4, 1, struct.pack("<I", value)


def tiny_tiff(width, height, photometric, bits, data, extra=None):
    """The bytes of a file; `extra` are further tags: {number: (type, count, bytes)}."""
    tags = {
        256: shorts(width),
        257: shorts(height),
        258: shorts(*bits),
        259: shorts(1),
        262: shorts(photometric),
        273: long(0),
        277: shorts(len(bits)),
        278: shorts(height),
        279: long(len(data)),
        284: shorts(1),
        **(extra or {}),
    }
    start = 8 + 2 + 12 * len(tags) + 4
    tail = b""
    places = {}
    for tag, (_, _, body) in tags.items():
        if len(body) > 4:
            places[tag] = start + len(tail)
            tail += body + bytes(len(body) % 2)
    tags[273] = long(start + len(tail))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    for tag, (kind, count, body) in sorted(tags.items()):
        stored = struct.pack("<I", places[tag]) if tag in places else body.ljust(4, b"\0")
        head += struct.pack("<HHI", tag, kind, count) + stored
    return head + bytes(4) + tail + data


def bayer_dng(mosaic):
    """A DNG of a Bayer sensor without a colour matrix, of uint16 [H,W]."""
    height, width = mosaic.shape
    extra = {
        33421: shorts(2, 2),
        33422: (1, 4, bytes((0, 1, 1, 2))),
        50706: (1, 4, bytes((1, 4, 0, 0))),
        50708: (2, 7, b"Camera\0"),
        50714: shorts(0),
        50717: shorts(65535),
    }
    return tiny_tiff(width, height, 32803, (16,), mosaic.astype("<u2").tobytes(), extra)
