"""What is wrong with a photo, how much, and which task that is for: measured from its pixels and read from its file.

patches     the parts that are looked at
features    what is measured of them
network     what the measures mean, learned
findings    what is found of each fault
inspection  the verdict
"""

from ucdir.inspection.findings import (
    CLEARLY_LOWER,
    BlurFinding,
    ExposureFinding,
    JpegFinding,
    NoiseFinding,
)
from ucdir.inspection.inspection import Inspection, inspect

__all__ = [
    "CLEARLY_LOWER",
    "BlurFinding",
    "ExposureFinding",
    "Inspection",
    "JpegFinding",
    "NoiseFinding",
    "inspect",
]
