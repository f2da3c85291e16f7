"""Reads a DICOM segmentation (SEG) as one mask a segment: binary, fractional, or a label map."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from fedmed_transforms.dicom.damage import Damaged, safe_code
from fedmed_transforms.dicom.dicom_file import DicomFile, Source, read_dicom_file
from fedmed_transforms.dicom.geometry.frame_stack import FrameStack, stack_frames
from fedmed_transforms.dicom.geometry.mask_grid import Array
from fedmed_transforms.dicom.pixels.fragments import LARGEST_DECODED
from fedmed_transforms.dicom.pixels.voxels import plan, stored_values
from fedmed_transforms.dicom.pixels.workers import in_turn
from fedmed_transforms.dicom.planes import FrameElements, frame_elements
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.silenced_parsers import silenced_parsers, without_parser_texts
from fedmed_transforms.dicom.slices import Slice, read_slices

LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"

SEGMENTATIONS = (str(SegmentationStorage), LABEL_MAP_SEGMENTATION)
"""SOP classes of segmentations of pixels (PS3.3, A.51)."""

EXPECTED = "a binary DICOM segmentation, a fractional one or a label map"

BACKGROUND = ("125040", "DCM")
"""The code of a label map's segment that stands for the absence of segments (PS3.16, CID 7150)."""

WHOLE_SLIDE = ("TotalPixelMatrixColumns", "TotalPixelMatrixRows", "TotalPixelMatrixOriginSequence")
"""Elements of images in tiles (PS3.3, C.8.12.14)."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of a file.

    Attributes
    ----------
    values
        (n, X, Y, Z) bool, or float32 in [0, 1] for fractions; x along columns, y along rows, from the first to the last
        slice that the file holds.
    affine
        (4, 4) float64, voxel indices to mm, RAS; the identity if the file has no positions.
    numbers, labels
        The SegmentNumber and the SegmentLabel of each of the n segments.
    """

    values: torch.Tensor
    affine: torch.Tensor
    numbers: list[int]
    labels: list[str]


def read_segmentation(path: str | Path | bytes, name: str = "") -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Reads a DICOM segmentation.

    Parameters
    ----------
    path
        The file, or its content.
    name
        The file's name in messages; its path by default.

    Returns
    -------
    tuple
        The masks, (n, X, Y, Z) bool, or float32 in [0, 1] for a fractional segmentation, x along columns, y along rows,
        from the first to the last slice that the file holds (empty slices beyond are not in it); their affine (4, 4),
        float64, voxel indices to mm, RAS (the identity if the file has no positions); and the labels of the n segments.

    Raises
    ------
    ValueError
        The file is no segmentation of slices, its pixels contradict its segments, or its slices are not evenly spaced;
        the message names the file.

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
    segments = read_segments(path if isinstance(path, bytes) else Path(path), name or str(path))
    return segments.values, segments.affine, segments.labels


def read_segments(source: Source, name: str) -> Segments:
    """Reads the segments of a file, or of its content.

    Source: DICOM PS3.3, C.8.20 (segmentation).

    Raises
    ------
    ValueError
        As :func:`read_segmentation`.
    """
    with silenced_parsers():
        file = read_dicom_file(source, name)
    with without_parser_texts(name, EXPECTED):
        form = _form(file.header)
        numbers = list(form.labels)
        groups = frame_elements(file.header)
        channels = [0] * len(groups) if form.kind == "LABELMAP" else [_channel_of(frame, numbers) for frame in groups]
    slices = read_slices(_with_indices(file))
    stack = _stack(slices, name)
    if len(set(zip(stack.slices, channels, strict=True))) < len(slices):
        raise ValueError(f"{name}: expected one frame of a segment on a slice, found several")
    values = _read_values(slices, form, stack.slices, channels)
    volumes = torch.from_numpy(values.transpose(0, 3, 2, 1))  # (n, slices, rows, columns) -> (n, X, Y, Z)
    return Segments(volumes, torch.from_numpy(stack.affine), numbers, list(form.labels.values()))


@dataclass(frozen=True)
class _Form:
    """The meaning of a file's stored values.

    Attributes
    ----------
    kind
        BINARY, FRACTIONAL or LABELMAP.
    labels
        The label of each segment by its number.
    background
        The values of a label map's pixels that belong to no segment.
    most
        The stored value of the fraction 1.
    """

    kind: str
    labels: dict[int, str]
    background: set[int]
    most: int


def _form(header: Dataset) -> _Form:
    """Reads the form of a segmentation; refuses a segmentation of tiles, whose frames are no slices."""
    organization = str(header.get("DimensionOrganizationType"))
    tiled = [keyword for keyword in WHOLE_SLIDE if keyword in header]
    tiled += [organization] if organization in ("TILED_FULL", "TILED_SPARSE") else []
    if tiled:
        raise Damaged(f"one of a whole slide ({', '.join(tiled)}), whose frames are tiles and no slices")
    kind = str(header.get("SegmentationType"))
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        stated = "SegmentationType" in header
        raise Damaged(f"the SegmentationType {safe_code(kind)}" if stated else "no SegmentationType")
    items = list(header.SegmentSequence)
    numbers = [int(item.SegmentNumber) for item in items]
    if len(set(numbers)) < len(items):
        raise Damaged(f"{len(items)} segments with {len(set(numbers))} different SegmentNumbers")
    labels = {number: str(item.get("SegmentLabel") or "") for number, item in zip(numbers, items, strict=True)}
    most = int(header.get("MaximumFractionalValue") or 0)
    if kind == "FRACTIONAL" and most < 1:
        raise Damaged(f"the MaximumFractionalValue {most}")
    if kind != "LABELMAP":
        return _Form(kind, labels, set(), most)
    background = {number for number, item in zip(numbers, items, strict=True) if _is_background(item)}
    padding = header.get("PixelPaddingValue")
    if padding and int(padding) in labels and int(padding) not in background:
        raise Damaged(f"a PixelPaddingValue of {int(padding)}, which is the number of a segment that is no background")
    background |= set() if padding is None else {int(padding)}
    kept = {number: label for number, label in labels.items() if number not in background}
    return _Form(kind, kept, background | {0}, most)


def _is_background(segment: Dataset) -> bool:
    codes = segment.get("SegmentedPropertyCategoryCodeSequence") or [Dataset()]
    return (codes[0].get("CodeValue"), codes[0].get("CodingSchemeDesignator")) == BACKGROUND


def _channel_of(frame: FrameElements, numbers: list[int]) -> int:
    found = frame.numbers("SegmentIdentificationSequence", "ReferencedSegmentNumber")
    if len(found) != 1 or found[0] not in numbers:
        raise Damaged(f"a frame with the ReferencedSegmentNumber {found}, which none of {len(numbers)} segments has")
    return numbers.index(int(found[0]))


def _with_indices(file: DicomFile) -> DicomFile:
    """Lets the palette of a label map be ignored: its stored values are the numbers of segments."""
    if file.header.get("PhotometricInterpretation") != "PALETTE COLOR":
        return file
    header = copy(file.header)
    header.PhotometricInterpretation = "MONOCHROME2"
    return replace(file, header=header)


def _stack(slices: list[Slice], name: str) -> FrameStack:
    """Finds the slices of the frames; without any position all frames lie on one slice."""
    if all(item.position is None for item in slices):
        return FrameStack([0] * len(slices), np.eye(4))
    try:
        return stack_frames(slices)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _read_values(slices: list[Slice], form: _Form, places: list[int], channels: list[int]) -> Array:
    """Reads the frames into (n, slices, rows, columns), bool or float32."""
    file = slices[0].file
    frames = plan(slices, SeriesRules(padding="keep"))
    pixels = frames[0].pixels
    if pixels.allocated > 16 or pixels.signed or pixels.floating:
        raise ValueError(f"{file.name}: expected unsigned pixels of at most 16 bits, found {pixels.word}")
    shape = (len(form.labels), max(places) + 1, pixels.rows, pixels.columns)
    if 4 * prod(shape) > LARGEST_DECODED:
        found = f"{shape[0]} segments on {shape[1]} slices of {shape[3]} x {shape[2]} pixels, {4 * prod(shape)} bytes"
        raise ValueError(f"{file.name}: expected masks of at most {LARGEST_DECODED} bytes, found {found}")
    values: Array = np.zeros(shape, dtype=np.float32 if form.kind == "FRACTIONAL" else bool)

    def read(index: int) -> None:
        stored, place = stored_values(frames[index]), places[index]
        if form.kind == "LABELMAP":
            _fill_segments(values[:, place], stored, form, file.name)
        else:
            fractional = form.kind == "FRACTIONAL"
            values[channels[index], place] = _fractions(stored, form.most, file.name) if fractional else stored > 0

    in_turn(read, range(len(frames)))
    return values


def _fill_segments(masks: Array, stored: Array, form: _Form, name: str) -> None:
    """Fills the masks (n, rows, columns) of a label map's frame (rows, columns)."""
    numbers = list(form.labels)
    for value in np.flatnonzero(np.bincount(stored.ravel())).tolist():
        if value in form.labels:
            masks[numbers.index(value)] = stored == value
        elif value not in form.background:
            raise ValueError(f"{name}: found the pixel value {value}, expected the numbers of described segments")


def _fractions(stored: Array, most: int, name: str) -> Array:
    highest = int(stored.max())
    if highest > most:
        raise ValueError(f"{name}: expected pixels of at most MaximumFractionalValue {most}, found {highest}")
    return np.asarray(stored.astype(np.float32) / np.float32(most))
