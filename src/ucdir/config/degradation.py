"""Typed configuration of the damage that training does: one section for each task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ucdir.section import Section

Quality = Annotated[int, Field(ge=1, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[float, Field(ge=0, le=48)]
Ratio = Annotated[float, Field(ge=1, le=1000)]


class JpegConfig(Section):
    """Distribution of the JPEG degradation in training."""

    qualities: tuple[Quality, Quality] = (5, 95)
    """Lowest and highest quality."""
    focus: tuple[Quality, Quality] = (5, 50)
    """Range that most draws come from."""
    focus_probability: Share = 0.8
    """Share of the draws that come from `focus`."""
    subsamplings: tuple[Literal["4:2:0", "4:4:4"], ...] = Field(
        default=("4:2:0", "4:2:0", "4:2:0", "4:4:4"), min_length=1
    )
    """Resolution of the colours, drawn uniformly; one that is named three times is drawn three times as often."""
    unknown_probability: Share = 0.1
    """Share of the crops whose quality is not told to the model."""
    shift_probability: Share = 0.1
    """Share of the crops whose 8x8 blocks do not begin at the corner, as after cropping or turning a JPEG."""

    @model_validator(mode="after")
    def _ranges(self) -> JpegConfig:
        low, high = self.qualities
        if not low <= self.focus[0] <= self.focus[1] <= high:
            raise ValueError(f"focus {list(self.focus)} is no range within qualities {[low, high]}")
        return self


class BlurConfig(Section):
    """Distribution of the blur in the training of deblurring."""

    lengths: tuple[Pixels, Pixels] = (0.0, 32.0)
    """Shortest and longest blur in pixels."""
    defocus_probability: Share = 0.15
    """Share of the crops that are out of focus instead of shaken."""
    unknown_probability: Share = 0.4
    """Share of the crops whose kind of blur is not told, and of those whose length is not told."""

    @model_validator(mode="after")
    def _ranges(self) -> BlurConfig:
        if self.lengths[0] > self.lengths[1]:
            raise ValueError(f"lengths {list(self.lengths)}: the shortest comes first")
        return self


class LowLightConfig(Section):
    """Distribution of darkness and noise in the training of low light."""

    ratios: tuple[Ratio, Ratio] = (
        50.0,
        300.0,
    )
    """Lowest and highest exposure ratio."""
    srgb_probability: Share = 0.25
    """Share of the crops that stand for photographs with milder noise that are not RAW."""
    unknown_probability: Share = 0.3
    """Share of the crops whose exposure ratio is not told; as much again for gain and strength of the noise."""

    @model_validator(mode="after")
    def _ranges(self) -> LowLightConfig:
        if self.ratios[0] > self.ratios[1]:
            raise ValueError(f"ratios {list(self.ratios)}: the lowest comes first")
        return self
