"""A DICOM SEG read as segments."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import torch

from fedmed_transforms.dicom.geometry.mask_grid import Array
from fedmed_transforms.dicom.planes import frame_element, frames_of
from fedmed_transforms.dicom.silenced_parsers import without_parser_texts
from fedmed_transforms.image_metadata import LPS_FROM_RAS


def read_segmentation(path: str | Path | bytes, name: str = "") -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Reads a binary DICOM segmentation.

    Parameters
    ----------
    path
        The file, or its content.
    name
        What messages call it; its path by default.

    Returns
    -------
    tuple
        The mask, (n, X, Y, Z) bool, x along columns, y along rows, from the first to the last slice that the file
        holds (empty slices beyond are not in it); its affine (4, 4), float64, voxel indices to mm, RAS (the identity
        if the file has no positions); and the labels of the n segments.

    Raises
    ------
    ValueError
        The file is no binary segmentation, or its slices are not evenly spaced; the message names it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_transforms import load_image, read_segmentation, write_segmentation
    >>> from pydicom.data import get_testdata_file
    >>> source = get_testdata_file("CT_small.dcm")
    >>> with TemporaryDirectory() as folder:
    ...     file = write_segmentation(load_image(source) > 0, source, f"{folder}/seg.dcm", ["tissue"])
    ...     mask, affine, labels = read_segmentation(file)
    >>> mask.shape, affine.shape, labels
    (torch.Size([1, 128, 128, 1]), torch.Size([4, 4]), ['tissue'])
    """
    content = BytesIO(path) if isinstance(path, bytes) else path
    with without_parser_texts(name or str(path), "a binary DICOM segmentation of evenly spaced slices"):
        dicom = pydicom.dcmread(content)
        if dicom.SegmentationType != "BINARY":
            raise ValueError("another SegmentationType")
        result = hd.seg.Segmentation.from_dataset(dicom, copy=False)
        values, affine = _volume(result)
    labels = [str(segment.SegmentLabel) for segment in result.SegmentSequence]
    return torch.from_numpy(values.transpose(3, 2, 1, 0) > 0), torch.from_numpy(affine), labels


def _volume(result: Any) -> tuple[Array, Array]:
    """(slices, rows, columns, n), and the RAS affine of (column, row, slice)."""
    if "PlaneOrientationSequence" in result.SharedFunctionalGroupsSequence[0]:
        volume = result.get_volume(combine_segments=False)
        return volume.array, LPS_FROM_RAS @ volume.affine[:, [2, 1, 0, 3]]
    values = np.zeros((1, result.Rows, result.Columns, len(result.SegmentSequence)), dtype=np.uint8)
    pixels = result.pixel_array.reshape(-1, result.Rows, result.Columns)
    for pixel, frame in zip(pixels, frames_of(result), strict=True):
        number = frame_element(frame, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        values[0, :, :, number - 1] = pixel
    return values, np.eye(4)
