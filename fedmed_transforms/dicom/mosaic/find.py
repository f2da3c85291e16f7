"""Finds out whether a picture holds the slices of a whole volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset

from fedmed_transforms.dicom.dicom_file import SIEMENS_GRID, UNITED_IMAGING_GRID
from fedmed_transforms.dicom.mosaic.siemens import siemens_slices
from fedmed_transforms.dicom.mosaic.tiles import TiledSlice
from fedmed_transforms.dicom.mosaic.united_imaging import united_imaging_slices
from fedmed_transforms.dicom.planes import FrameElements, FramePlane

XA_IMAGE_TYPE = 0x75
"""Element of group 0021 with the ImageType of a mosaic that a Siemens XA scanner exported as an enhanced image."""


def find_slices(frame: FrameElements, plane: FramePlane, whole_header: Callable[[], Dataset]) -> list[TiledSlice]:
    """Finds the slices of a picture that holds several; an empty list for every other image.

    Siemens XA scanners store the slices of a mosaic as frames and keep MOSAIC in ImageType: an image of several frames
    holds one slice in each.

    Parameters
    ----------
    frame, plane
        Of an image with one frame.
    whole_header
        Reads the header with all its private elements; called only for such pictures.

    Raises
    ------
    Damaged
        The image is such a picture, but the elements are absent or damaged that state where its slices lie.
    """
    if frame.header.get("Modality") != "MR":
        return []
    kinds = _image_types(frame)
    if "MOSAIC" in kinds or _counts(frame.header, SIEMENS_GRID, "SIEMENS"):
        return siemens_slices(whole_header(), plane)
    if "VFRAME" in kinds or _counts(frame.header, UNITED_IMAGING_GRID, "Image Private"):
        return united_imaging_slices(whole_header(), plane)
    return []


def _image_types(frame: FrameElements) -> list[str]:
    """Lists the values of ImageType, of the frame and of the image, with those of Siemens's private element."""
    kinds = _values(frame.header.get("ImageType"))
    for element in (element for group in frame.groups for element in group.iterall()):
        private = element.tag.group == 0x21 and element.tag.element & 0xFF == XA_IMAGE_TYPE
        if private or element.keyword == "FrameType":
            kinds += _values(element.value)
    return kinds


def _values(value: Any) -> list[str]:
    """Splits one or several texts into codes."""
    texts = [value] if isinstance(value, (str, bytes)) else list(value or [])
    return [code for text in texts for code in str(text).replace("\\", "_").split("_")]


def _counts(header: Dataset, elements: tuple[int, int], name: str) -> bool:
    """Checks whether a private element of this creator states that a picture holds more than one slice."""
    creator, count = elements
    if count not in header or creator not in header or not str(header[creator].value).startswith(name):
        return False
    return str(header[count].value) not in ("", "0", "1", "None")
