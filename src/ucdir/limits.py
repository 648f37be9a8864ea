"""Every limit on size and time, in one place, with the unit in the name."""

import os

from ucdir.errors import ConfigError

MAX_FILE_BYTES = 1 << 30
"""Largest image file that is opened."""

MAX_IMAGE_PIXELS = 160_000_000
"""Largest width x height that is decoded; the largest sensors sold to photographers have 151 megapixels."""

MAX_IMAGE_SIDE = 65_535
"""Longest side in pixels."""

STREAMED_PIXELS = 8_000_000
"""Photos of more pixels are restored part by part from file to file: the same picture, in memory that does not grow."""

MAX_STREAMED_PIXELS = 4_300_000_000
"""Largest width x height of these; a JPEG file holds 65,535 x 65,535. UCDIR_MAX_PIXELS or --max-pixels overrule it."""

MAX_STREAMED_SIDE = 1_000_000
"""Longest side of these in pixels, which is libpng's."""

MAX_STREAMED_FILE_BYTES = 64 << 30
"""Largest file of these. UCDIR_MAX_FILE_BYTES overrules it."""

MAX_PIXELS_OF_ANY_FILE = 12_000_000
"""Largest width x height of a file of any size; one of 38 bytes can hold 160 megapixels of one colour, and more than"""

MAX_PIXELS_PER_BYTE = 1000
"""this beyond it for each byte of the file is no photograph. Photographs take 0.5 to 100 pixels a byte."""

MAX_CONFIG_BYTES = 1 << 20
"""Largest YAML or JSON configuration file that is parsed."""

MAX_SAFETENSORS_HEADER_BYTES = 16 << 20
"""Largest header of a weights file."""

MAX_CHECKPOINT_BYTES = 16 << 30
"""Largest checkpoint file that is opened."""

MAX_ONNX_BYTES = 2 << 30
"""Largest network in an ONNX file that is opened: what protobuf holds."""

MAX_CHECKPOINT_OPCODES = 500_000
"""Longest pickle that is read of a checkpoint file; each tensor takes about 40 opcodes."""

MAX_BLOCKS = 128
"""Most blocks of a UNet, counted on the way down."""

MAX_STRIDE = 512
"""Largest total stride of a UNet in pixels: images are padded to a multiple of it."""

MAX_SAMPLING_STEPS = 2000
"""Most diffusion steps of one restoration: the number the noise schedule was trained with."""

MAX_SAMPLES = 10_000
"""Most restorations of one image that are averaged."""

MAX_SCHEDULE_STEPS = 20_000
"""Most steps of a noise schedule that is given as a list."""

MAX_TRAINING_WORKERS = 256
"""Most worker processes of a training; each takes about 200 MB, and a slip of the keyboard would take all memory."""

MAX_METADATA_BYTES = 8 << 20
"""Largest block of EXIF, colour profile or XMP that is kept with an image."""

MAX_JPEG_SCANS = 200
"""Most scans of a progressive JPEG file; encoders write about 10, and each costs a pass over the image."""

MAX_PAIR_LIST_BYTES = 64 << 20
"""Largest text file that lists pairs of photographs."""

MAX_LIST_BYTES = 64 << 20
"""Largest list of photos for a batch."""

MAX_RECORD_BYTES = 256 << 20
"""Most that is read of the record of a folder of results; a result takes about 700 bytes."""

MAX_UPLOAD_BYTES = 256 << 20
"""Largest request that `ucdir serve` takes, unless it is told otherwise."""

MAX_FORM_BYTES = 64 << 10
"""What a form may take beside its image: fields, headers of parts, boundaries."""

MAX_FIELD_BYTES = 200
"""Longest value of a form's field."""

MAX_FORM_PARTS = 40
"""Most parts of a form."""

MAX_CONNECTIONS = 256
"""Most connections that `ucdir serve` holds at once."""

MAX_PROGRESS_STREAMS = 64
"""Most streams of progress that it sends at once."""


def max_streamed_pixels() -> int:
    """`MAX_STREAMED_PIXELS`, or what the environment says."""
    return _configured("UCDIR_MAX_PIXELS", MAX_STREAMED_PIXELS)


def max_streamed_file_bytes() -> int:
    """`MAX_STREAMED_FILE_BYTES`, or what the environment says."""
    return _configured("UCDIR_MAX_FILE_BYTES", MAX_STREAMED_FILE_BYTES)


def _configured(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ConfigError(f"{name}={text:.40}: write a whole number above 0, such as {default}.")
    return int(text)
