"""Reads a DICOM SEG as one mask a segment."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import torch

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.geometry.frame_stack import FrameStack, stack_frames
from fedmed_transforms.dicom.planes import FrameElements, frame_elements, read_planes, readable_plane
from fedmed_transforms.dicom.silenced_parsers import silenced_parsers, without_parser_texts


def read_segmentation(path: str | Path | bytes, name: str = "") -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Reads a binary DICOM segmentation.

    Parameters
    ----------
    path
        The file, or its content.
    name
        The file's name in messages; its path by default.

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
    name = name or str(path)
    with without_parser_texts(name, "a binary DICOM segmentation"):
        dicom = pydicom.dcmread(content)
        if dicom.SegmentationType != "BINARY":
            raise Damaged("another SegmentationType")
        frames = frame_elements(dicom)
        pixels = dicom.pixel_array.reshape(len(frames), dicom.Rows, dicom.Columns)  # one frame may lack its axis
        segments = [int(segment.SegmentNumber) for segment in dicom.SegmentSequence]
        labels = [str(segment.SegmentLabel) for segment in dicom.SegmentSequence]
        channels = [segments.index(_segment_of(frame)) for frame in frames]
    stack = _stack(frames, name)
    if len(set(zip(stack.slices, channels, strict=True))) < len(frames):
        raise ValueError(f"{name}: expected one frame of a segment on a slice, found several")
    values = np.zeros((len(segments), max(stack.slices) + 1, *pixels.shape[1:]), dtype=bool)
    values[channels, stack.slices] = pixels > 0
    mask = torch.from_numpy(values.transpose(0, 3, 2, 1))  # (n, slices, rows, columns) -> (n, X, Y, Z)
    return mask, torch.from_numpy(stack.affine), labels


def _segment_of(frame: FrameElements) -> int:
    return int(frame.numbers("SegmentIdentificationSequence", "ReferencedSegmentNumber")[0])


def _stack(frames: list[FrameElements], name: str) -> FrameStack:
    """Finds the slices of the frames; without any position all frames lie on one slice."""
    with silenced_parsers(), readable_plane(name):
        planes = read_planes(frames)
    if all(plane.position is None for plane in planes):
        return FrameStack([0] * len(frames), np.eye(4))
    try:
        return stack_frames(planes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
