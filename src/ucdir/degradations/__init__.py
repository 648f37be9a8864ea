"""What damages a photograph: an object with its formula, and a generator that draws one."""

from ucdir.degradations.jpeg_compression import JpegCompression, JpegCompressionGenerator, Subsampling

__all__ = ["JpegCompression", "JpegCompressionGenerator", "Subsampling"]
