"""Decodes compressed frames on a GPU, in batches, through nvImageCodec, where it is installed.

It gets only frames that it decodes to the same bits as the CPU's decoders: lossless greyscale. Its decoders of lossy
frames round in other places, and it decodes JPEG lossless of 12 bits to zeros without an error (nvImageCodec issue 50).
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import torch
from pydicom.uid import UID, HTJ2KLossless, HTJ2KLosslessRPCL, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1

from fedmed_transforms.dicom.dicom_file import samples_of
from fedmed_transforms.dicom.pixels.codestream import Codestream
from fedmed_transforms.dicom.pixels.frames import check_declared, has_more_bits
from fedmed_transforms.dicom.slices import Slice

logger = logging.getLogger(__name__)

SYNTAXES = (JPEGLossless, JPEGLosslessSV1, JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL)
"""Transfer syntaxes whose frames may go to the GPU."""

JPEG_LOSSLESS_BITS = (8, 16)
"""Precisions of JPEG lossless that it decodes right."""

CONTAINERS = {8: torch.uint8, 16: torch.int16}


def is_available() -> bool:
    """Checks whether nvImageCodec is installed and a GPU is present."""
    return _decoder() is not None


def is_trusted(syntax: UID, declared: Codestream) -> bool:
    """Checks whether nvImageCodec decodes such a frame to the same bits as the CPU's decoders.

    Parameters
    ----------
    syntax
        Transfer syntax.
    declared
        The size that the frame declares.
    """
    if syntax not in SYNTAXES or declared.samples != 1 or declared.precision > 16:
        return False
    return declared.precision in JPEG_LOSSLESS_BITS if syntax in (JPEGLossless, JPEGLosslessSV1) else True


def decode(frames: list[bytes], slices: list[Slice], device: torch.device) -> torch.Tensor | None:
    """Decodes compressed frames to words on the device.

    Parameters
    ----------
    frames, slices
        One compressed frame a slice, all of one format.
    device
        Where the words are to be.

    Returns
    -------
    torch.Tensor or None
        (frames, rows, columns) in words of BitsAllocated; None where the CPU has to decode them: another device, no
        nvImageCodec, frames it is not trusted with, or an outcome that cannot be right.
    """
    decoder = _decoder() if device.type == "cuda" else None
    if decoder is None or not all(_is_decodable(frame, item) for frame, item in zip(frames, slices, strict=True)):
        return None
    images = decoder.decode(frames, params=_parameters())
    if any(image is None for image in images):
        return None
    header = slices[0].file.header
    words = [torch.as_tensor(image, device=device).squeeze(-1) for image in images]
    expected = (int(header.Rows), int(header.Columns))
    if any(word.shape != expected or bool((word == word.flatten()[0]).all()) for word in words):
        return None  # its silent failures give frames of one value: the CPU decodes those
    container = CONTAINERS[int(header.BitsAllocated)]
    return torch.stack([_contained(word, container) for word in words])


def _is_decodable(frame: bytes, item: Slice) -> bool:
    header = item.file.header
    if samples_of(item.file) != 1 or int(header.BitsAllocated) not in CONTAINERS:
        return False
    try:
        declared = check_declared(item.file, frame)
    except ValueError:
        return False  # the CPU's decoder names the file
    if declared is None or has_more_bits(item.file, declared):
        return False  # the CPU looks at the pixels
    return is_trusted(item.file.transfer_syntax, declared)


def _contained(word: torch.Tensor, container: torch.dtype) -> torch.Tensor:
    """Converts words to the container that the header names; bits above the stored ones may hold anything."""
    if word.element_size() == container.itemsize:
        return word.view(container)
    return word.to(container)


@lru_cache(maxsize=1)
def _decoder() -> Any:
    """Creates nvImageCodec's decoder once; None without a GPU or the library."""
    if not torch.cuda.is_available():
        return None
    try:
        from nvidia import nvimgcodec

        return nvimgcodec.Decoder()
    except (ImportError, RuntimeError) as error:
        logger.info("nvImageCodec is not used: %s", error)
        return None


def _parameters() -> Any:
    from nvidia import nvimgcodec

    return nvimgcodec.DecodeParams(allow_any_depth=True, color_spec=nvimgcodec.ColorSpec.UNCHANGED)
