"""Which format a result gets: what the request's header `Accept` asks for (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

FORMATS: Final[Mapping[str, str]] = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/tiff": ".tif",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/x-adobe-dng": ".dng",
}
"""Suffixes that `images.write` knows by media type."""
_SAME: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "TIFF": "image/tiff"} | {
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}


def accepted(header: str) -> list[str]:
    """Media types that may be sent, the best first; "same" stands for that of the photo.

    Of equally good ones the first that is named comes first, as `image/png, image/jpeg` does.
    """
    weights: dict[str, float] = {}
    for part in header.split(",") if header.strip() else ["*/*"]:
        kind, *parameters = (text.strip().lower() for text in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if re.fullmatch(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", parameter):
                weight = float(parameter[2:])
        kind = {"image/*": "same", "*/*": "same", "image/jpg": "image/jpeg"}.get(kind, kind)
        if kind == "same" or kind in FORMATS:
            weights[kind] = max(weight, weights.get(kind, 0.0))
    refused = {kind for kind, weight in weights.items() if not weight}
    found = sorted((kind for kind in weights if kind not in refused), key=lambda kind: -weights[kind])
    if "same" in found:  # any of the others serves, where the photo's own format is not wanted or not written
        behind = found.index("same") + 1
        found[behind:behind] = [kind for kind in FORMATS if kind not in weights]
    return found if found != ["same"] else []  # with every format refused by its name


def ranked(types: list[str], kind: str) -> list[str]:
    """The media types that a result may have, the best first; the next is for what one before cannot hold.

    Args:
        types: from `accepted`, not empty.
        kind: of the photo, as in `images.signatures`; those that are not written become PNG.
    """
    same = _SAME.get(kind, "image/png")
    found = dict.fromkeys(same if one == "same" else one for one in types)
    return [one for one in found if one in types]
