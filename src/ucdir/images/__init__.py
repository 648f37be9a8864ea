"""Image files: the only code that touches untrusted image bytes.

    read(path)  ─> Photo(pixels, alpha, jpeg_quality, metadata, warnings) ─> write(photo, path)

Heavy libraries are imported when the first file is read or written.
"""

from ucdir.images.density import Density
from ucdir.images.paths import READABLE_SUFFIXES, default_output, find_images
from ucdir.images.photo import Exposure, Metadata, Photo
from ucdir.images.read import read
from ucdir.images.write import (
    WRITABLE_SUFFIXES,
    check_encodable,
    check_writable,
    encode_photo,
    is_format,
    is_lossless,
    write,
)

__all__ = [
    "READABLE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "Density",
    "Exposure",
    "Metadata",
    "Photo",
    "check_encodable",
    "check_writable",
    "default_output",
    "encode_photo",
    "find_images",
    "is_format",
    "is_lossless",
    "read",
    "write",
]
