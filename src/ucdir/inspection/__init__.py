"""What is wrong with a photo, how much, and which task that is for: measured from its pixels and read from its file.

patches     the parts that are looked at
features    what is measured of them
network     what the measures mean, learned
inspection  the findings, and the verdict
"""

from ucdir.inspection.inspection import (
    CLEARLY_LOWER,
    BlurFinding,
    ExposureFinding,
    Inspection,
    JpegFinding,
    NoiseFinding,
    inspect,
)

__all__ = [
    "CLEARLY_LOWER",
    "BlurFinding",
    "ExposureFinding",
    "Inspection",
    "JpegFinding",
    "NoiseFinding",
    "inspect",
]
