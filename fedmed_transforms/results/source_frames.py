"""Limits multi-frame sources to the frames that a result was computed from, and states their numbers in the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset

from fedmed_transforms.dicom.dicom_file import frame_count

PER_FRAME = "PerFrameFunctionalGroupsSequence"
OFFSETS = "GridFrameOffsetVector"

Frames = Mapping[str, Sequence[int]]
"""The numbers of frames, from 1, by the SOPInstanceUID of their file; all frames of a file that is not among them."""


def select_frames(headers: Sequence[Dataset], frames: Frames) -> list[Dataset]:
    """Copies the headers of multi-frame images so that they describe the selected frames alone.

    Raises
    ------
    ValueError
        An image has no frame of such a number.
    """
    return [_selected(header, frames.get(str(header.SOPInstanceUID))) for header in headers]


def _selected(header: Dataset, numbers: Sequence[int] | None) -> Dataset:
    if numbers is None:
        return header
    count = frame_count(header)
    if not numbers or not all(1 <= number <= count for number in numbers):
        raise ValueError(f"expected numbers of frames from 1 to {count}, found {list(numbers)}")
    copy = header[:]
    copy.filename = getattr(header, "filename", None)
    copy.NumberOfFrames = len(numbers)
    if groups := header.get(PER_FRAME):
        setattr(copy, PER_FRAME, [groups[number - 1] for number in numbers])
    if offsets := header.get(OFFSETS):
        setattr(copy, OFFSETS, [offsets[number - 1] for number in numbers])
    return copy


def state_frames(result: Dataset, frames: Frames) -> None:
    """Replaces the numbers of frames to which a segmentation refers by those of the whole images.

    Source: DICOM PS3.3, C.7.6.16.2.6 (derivation image).
    """
    for group in result.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence") or []:
            for source in derivation.get("SourceImageSequence") or []:
                numbers = frames.get(str(source.ReferencedSOPInstanceUID)) or ()
                stated = source.get("ReferencedFrameNumber") or (1 if len(numbers) == 1 else None)
                if numbers and stated:
                    source.ReferencedFrameNumber = numbers[int(stated) - 1]


def frames_as_content(frames: Frames) -> list[Any]:
    """Returns the frames as values that JSON holds, in order; none where no frames were selected."""
    return [[uid, list(numbers)] for uid, numbers in sorted(frames.items())]
