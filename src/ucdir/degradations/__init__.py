"""Degradations of a photo: an object with its formula, and a generator that samples one."""

from ucdir.degradations.camera_effects import CameraEffects
from ucdir.degradations.developed_noise import DevelopedNoise, DevelopedNoiseGenerator
from ucdir.degradations.frame_mean import mean_of_frames
from ucdir.degradations.jpeg_compression import (
    JpegCompression,
    JpegCompressionGenerator,
    JpegHistory,
    Subsampling,
)
from ucdir.degradations.low_light_noise import LowLightGenerator, LowLightNoise
from ucdir.degradations.motion_blur import BlurGenerator, DefocusBlur, MotionBlur
from ucdir.degradations.scene_blur import MovingObject, SceneBlur
from ucdir.degradations.white_noise import WhiteNoise

__all__ = [
    "BlurGenerator",
    "CameraEffects",
    "DefocusBlur",
    "DevelopedNoise",
    "DevelopedNoiseGenerator",
    "JpegCompression",
    "JpegCompressionGenerator",
    "JpegHistory",
    "LowLightGenerator",
    "LowLightNoise",
    "MotionBlur",
    "MovingObject",
    "SceneBlur",
    "Subsampling",
    "WhiteNoise",
    "mean_of_frames",
]
