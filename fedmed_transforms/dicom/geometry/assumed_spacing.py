"""The rule ``assume_spacing``: the images that it can stack, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedmed_transforms.dicom.frame_positions import follow_in_space
from fedmed_transforms.dicom.planes import Vector, frame_elements
from fedmed_transforms.dicom.slices import Slice

CROSS_SECTIONS = ("CT", "MR", "PT")
"""Modalities whose images are slices; several images of others may follow each other in time."""

AXIAL = np.array([[1.0, 0, 0], [0, 1.0, 0]])

ABOVE = 0.05
"""Largest difference in mm, across their axis, of the positions of axial slices that stand above each other."""


def advise_spacing(slices: Sequence[Slice]) -> str:
    """Returns the advice to assume a spacing, for the end of a message; the reason against it if it could be wrong.

    The rule stacks images in space. It is advised for images of cross-sections only, and not for the frames of a file
    that states that they follow each other in time, by an angle, or by anything else.
    """
    files = {id(item.file): item.file for item in slices}.values()
    if not all(file.header.get("Modality") in CROSS_SECTIONS and follow_in_space(file.header) for file in files):
        return "; nothing states that they are slices of one volume"
    axial = any(item.directions is None for item in slices)
    placed = [item for item in slices if item.position is not None]
    if axial and placed and not are_axial(placed):
        return "; their positions are not those of axial slices, so no rule assumes their orientation"
    assumed = [name for name, found in (("axial slices", axial), ("slices from the origin", not placed)) if found]
    return "; the rule assume_spacing=(x, y, z) assumes it in mm" + "".join(f", and {name}" for name in assumed)


def are_axial(slices: Sequence[Slice]) -> bool:
    """Checks whether the positions of slices differ along the patient's axis only."""
    positions = np.array([item.position for item in slices])
    return bool((np.ptp(positions[:, :2], axis=0) <= ABOVE).all())


def follow_the_first(slices: Sequence[Slice]) -> bool:
    """Checks whether the slices are the frames of one file that states the position of the first frame alone."""
    placed = [item for item in slices if item.position is not None]
    same = all(item.file is slices[0].file for item in slices)
    return same and len(slices) > 1 and len(placed) == 1 and placed[0].frame == 0 and placed[0].tile is None


def stack(slices: list[Slice], assumed: float) -> list[Slice]:
    """Stacks slices without positions, in the order of their number, along their own normal if stated.

    They begin at the position of the first frame if their file states it, else at the origin. The step is their
    SpacingBetweenSlices if stated, else the assumed one, in mm.

    Raises
    ------
    ValueError
        Two slices have one number.
    """
    ordered = sorted(slices, key=lambda item: (item.number, item.name))
    numbers = [item.number for item in ordered]
    if len(set(numbers)) != len(numbers):
        names = ", ".join(item.name for item in ordered[:10])
        raise ValueError(f"{names}: found no positions and no distinct InstanceNumber to put slices in order")
    step = _stated_step(ordered[0]) or assumed
    start = np.zeros(3) if ordered[0].position is None else ordered[0].position
    directions = AXIAL if ordered[0].directions is None else ordered[0].directions
    normal = np.cross(directions[0], directions[1])
    return [
        replace(item, position=start + index * step * normal, directions=_directions(item))
        for index, item in enumerate(ordered)
    ]


def with_axial_directions(slices: list[Slice]) -> list[Slice]:
    """Assumes axial slices at their stated positions.

    Raises
    ------
    ValueError
        The positions are not those of axial slices.
    """
    if not are_axial(slices):
        raise ValueError(
            f"{slices[0].name}: found no orientation, and positions that are not those of {len(slices)} axial slices"
        )
    return [replace(item, directions=_directions(item)) for item in slices]


def _directions(item: Slice) -> Vector:
    return AXIAL if item.directions is None else item.directions


def _stated_step(item: Slice) -> float | None:
    """Reads the distance in mm to the next slice; that of a file's frames is negative against the normal."""
    if item.file.frames == 1 or item.slice_spacing is None:
        return item.slice_spacing
    frame = frame_elements(item.file.header)[item.frame]
    return float(np.copysign(item.slice_spacing, frame.numbers("PixelMeasuresSequence", "SpacingBetweenSlices")[0]))
