"""Places the frames of an image that states the position of its first frame alone, and the distance between frames.

Nothing is assumed: a frame of which the file does not state that it lies at the next place keeps no position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import numpy as np
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.planes import FrameElements, FramePlane, decimals_of, frame_elements, read_planes

IN_SPACE = (
    *("SliceVector", "SpacingBetweenSlices", "SliceLocation", "SliceLocationVector", "ImagePositionPatient"),
    "PerFrameFunctionalGroupsSequence",
)
"""Elements to which FrameIncrementPointer points where frames follow each other in space."""

RECONSTRUCTED = ("RECON TOMO", "RECON GATED TOMO")
"""Third values of ImageType of nuclear images whose frames are slices; other frames are views and moments."""


def read_frame_planes(frames: Sequence[FrameElements]) -> list[FramePlane]:
    """Reads the planes of all frames of a header; frames without a position of their own follow the first one.

    The sign of SpacingBetweenSlices is the direction: positive along the normal of the first frame.

    Source: DICOM PS3.3, C.7.6.2 (image plane), C.8.4.11 and C.8.4.15 (detector, NM reconstruction).

    Raises
    ------
    Damaged
        An element is present but not usable; the message names the element.
    """
    planes = read_planes(frames)
    nuclear = frames[0].header.get("Modality") == "NM"
    if (len(frames) == 1 and not nuclear) or has_own_positions(frames):
        return planes
    if nuclear and not _is_reconstructed(frames[0].header):
        return planes
    first = _first_plane(frames[0])
    if first.position is None or first.directions is None:
        return planes
    return [
        replace(
            plane,
            position=None if offset is None else first.position + offset * first.normal,
            directions=first.directions if plane.directions is None else plane.directions,
        )
        for plane, offset in zip(planes, _offsets(frames), strict=True)
    ]


def follow_in_space(header: Dataset) -> bool:
    """Checks whether frames may follow each other in space: nothing states another order, as by time or by an angle."""
    return _slice_numbers(frame_elements(header)) is not None


def has_own_positions(frames: Sequence[FrameElements]) -> bool:
    """Checks whether the file states a position of each frame, also as the offsets of a dose grid."""
    grouped = any("PlanePositionSequence" in group for frame in frames for group in frame.groups)
    return grouped or bool(decimals_of(frames[0].header, "GridFrameOffsetVector"))


def _is_reconstructed(header: Dataset) -> bool:
    """Checks whether the frames of a nuclear image are slices (PS3.3, C.8.4.9.1.1)."""
    kinds = header.get("ImageType") or []
    third = "" if isinstance(kinds, str) or len(kinds) < 3 else str(kinds[2])
    return third in RECONSTRUCTED or "SliceVector" in _pointer(header)


def _first_plane(frame: FrameElements) -> FramePlane:
    """Reads the plane of the first frame from the header, or from the detector of a nuclear image."""
    (plane,) = read_planes([frame])
    items = frame.header.get("DetectorInformationSequence") or []
    detectors = [read_planes([FrameElements(item, [])])[0] for item in items]
    for name in ("position", "directions"):
        stated = [value for detector in detectors if (value := getattr(detector, name)) is not None]
        if any(not np.allclose(value, stated[0]) for value in stated):
            raise Damaged(f"a DetectorInformationSequence of {len(items)} detectors in different places")
        if stated:
            plane = replace(plane, **{name: stated[0]})
    return plane


def _offsets(frames: Sequence[FrameElements]) -> list[float | None]:
    """Computes the distance in mm of each frame from the first one along its normal; None where it is not stated."""
    unknown: list[float | None] = [0.0, *[None] * (len(frames) - 1)]
    spacing = frames[0].numbers("PixelMeasuresSequence", "SpacingBetweenSlices")
    numbers = _slice_numbers(frames)
    if numbers is None or not spacing or not isfinite(spacing[0]) or not spacing[0]:
        return unknown
    return [(number - numbers[0]) * spacing[0] for number in numbers]


def _slice_numbers(frames: Sequence[FrameElements]) -> list[float] | None:
    """Reads the number of the slice that each frame shows; None where frames follow each other in another way."""
    header = frames[0].header
    pointer = _pointer(header)
    vector = decimals_of(header, "SliceVector")
    if vector and (not pointer or "SliceVector" in pointer):
        if len(vector) != len(frames):
            raise Damaged(f"a SliceVector with {len(vector)} values, expected {len(frames)}")
        return vector
    if not set(pointer) <= set(IN_SPACE) or "FrameTime" in header or "FrameTimeVector" in header:
        return None
    stacked = [frame.numbers("FrameContentSequence", "InStackPositionNumber") for frame in frames]
    if all(stacked):
        return [number[0] for number in stacked]
    timed = {tuple(frame.numbers("FrameContentSequence", "TemporalPositionIndex")) for frame in frames}
    return None if len(timed) > 1 or any(stacked) else [float(index) for index in range(len(frames))]


def _pointer(header: Dataset) -> list[str]:
    """Lists the keywords of the elements by which frames follow each other (PS3.3, C.7.6.6)."""
    value = header.get("FrameIncrementPointer")
    tags = [] if value is None else list(value) if isinstance(value, Sequence) else [value]
    return [keyword_for_tag(tag) for tag in tags]
