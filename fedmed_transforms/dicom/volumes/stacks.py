"""Chooses among the stacks of a multi-frame file that lie at different places or in different orientations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedmed_transforms.dicom.geometry.grid import Grid, build_grid
from fedmed_transforms.dicom.planes import Vector
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.slices import Slice
from fedmed_transforms.dicom.volumes.choice import choose_volumes, number_of, rule_of
from fedmed_transforms.dicom.volumes.elements import ELEMENTS, SliceElements, Value

STACK = next(element for element in ELEMENTS if element.keyword == "StackID")

SAME_PLACE = 0.1
"""Distance in mm within which the first and the last frames of two stacks are at one place."""


def stacks_of(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Finds the stacks of multi-frame files, in the order of their first frames.

    Source: DICOM PS3.3, C.7.6.16.2.2 (StackID): frames of one geometry.

    Returns
    -------
    list
        Empty where there is one stack, where all stacks have the same frames' places, as these are volumes of one grid,
        or where all frames together are one regular volume.
    """
    if not any(item.frame and "PerFrameFunctionalGroupsSequence" in item.file.header for item in slices):
        return []
    stacks: dict[Value, list[Slice]] = {}
    for item, value in zip(slices, SliceElements(slices).values(STACK)[1], strict=True):
        stacks.setdefault(value, []).append(item)
    found = list(stacks.values())
    placed = all(item.position is not None and item.directions is not None for item in slices)
    apart = placed and None not in stacks and any(not _at_one_place(found[0], stack) for stack in found)
    return found if apart and not _are_one_volume(slices) else []


def choose_stack(stacks: Sequence[list[Slice]], rules: SeriesRules) -> list[Grid]:
    """Chooses one volume of all volumes of the stacks by the rule `volume`.

    Raises
    ------
    ValueError
        The rule names none of them, or asks for channels: the stacks lie at different places.
    """
    every = replace(rules, volume="channels")
    volumes = [grid for stack in stacks for grid in choose_volumes(build_grid(stack, rules), every)]
    described = _described(stacks)
    if rules.volume == "channels":
        raise ValueError(f"expected volumes at one place as channels, {described}; {rule_of(len(volumes), False)}")
    return [volumes[number_of(rules.volume, len(volumes))]]


def refuse_stacks(stacks: Sequence[list[Slice]], rules: SeriesRules) -> None:
    """Refuses several stacks where no rule says what to do with them.

    Raises
    ------
    ValueError
        The message names the element and the number of the stacks.
    """
    if stacks and rules.orientations == "refuse" and rules.uneven == "refuse":
        raise ValueError(f"expected one stack, {_described(stacks)}; {rule_of(len(stacks), channels=False)}")


def _are_one_volume(slices: Sequence[Slice]) -> bool:
    """Checks whether the frames of all stacks are the slices of one regular grid."""
    try:
        grid = build_grid(list(slices), SeriesRules())
    except ValueError:
        return False
    return grid.even and grid.upright


def _described(stacks: Sequence[list[Slice]]) -> str:
    counts = ", ".join(str(len(stack)) for stack in stacks)
    return f"found {len(stacks)} stacks of {counts} frames at different places, told apart by StackID"


def _at_one_place(first: Sequence[Slice], other: Sequence[Slice]) -> bool:
    ends, others = _ends(first), _ends(other)
    return bool(np.abs(ends - others).max() <= SAME_PLACE) and bool(
        np.abs(np.asarray(first[0].directions) - np.asarray(other[0].directions)).max() <= SAME_PLACE
    )


def _ends(stack: Sequence[Slice]) -> Vector:
    """The positions of a stack's frames that are lowest and highest along the normal of its first frame, (2, 3)."""
    positions = np.array([item.position for item in stack])
    heights = positions @ stack[0].normal
    return positions[[int(heights.argmin()), int(heights.argmax())]]
