"""Selects the slices of a series that form one stack: of one orientation and size, each with a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fedmed_transforms.dicom.dicom_file import is_coloured
from fedmed_transforms.dicom.folder.passed_over import LOCALIZER, image_type
from fedmed_transforms.dicom.geometry.assumed_spacing import (
    AXIAL,
    advise_spacing,
    follow_the_first,
    stack,
    with_axial_directions,
)
from fedmed_transforms.dicom.planes import Vector
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.slices import Slice

SAME_DIRECTION = 1e-3
"""Largest difference of direction cosines (about 0.06 degrees) between slices of one orientation."""

SAME_SPACING = 1e-4
"""Largest relative difference of pixel spacings within a stack."""

PLACED_MODALITIES = ("CT", "MR", "PT")
"""Modalities whose single images must state their position; images of others may be pictures without a place."""


def one_stack(slices: list[Slice], rules: SeriesRules, single: bool) -> list[Slice]:
    """Selects slices of one orientation and size, each with position, directions and spacing.

    Parameters
    ----------
    slices, rules, single
        As of :func:`fedmed_transforms.dicom.geometry.grid.build_grid`.

    Raises
    ------
    ValueError
        The slices form several stacks and no rule selects one; the message names the slices and the rule.
    """
    slices = _without_localisers(slices, rules)
    if single and rules.assume_spacing is None:
        slices = [_as_picture(item) for item in slices]
    slices = _of_one_orientation(_with_planes(slices, rules), rules)
    _check_same(slices)
    return slices


def has_position(item: Slice) -> bool:
    """Checks whether an image has a place in the patient, or must have one; a photograph or a radiograph has none."""
    return item.position is not None or item.file.header.get("Modality") in PLACED_MODALITIES


def _as_picture(item: Slice) -> Slice:
    """Puts an image without a place at the origin, in its own spacing or in pixels."""
    if has_position(item):
        return item
    spacing = np.ones(2) if item.spacing is None else item.spacing
    return replace(item, position=np.zeros(3), directions=AXIAL, spacing=spacing)


def _without_localisers(slices: list[Slice], rules: SeriesRules) -> list[Slice]:
    localisers = [item for item in slices if LOCALIZER in image_type(item.file.header)]
    if not localisers or len(localisers) == len(slices):
        return slices
    if rules.localisers == "refuse":
        raise ValueError(
            f"{_names(localisers)}: found {len(localisers)} localisers among {len(slices)} images; the rule "
            "localisers='drop' drops them"
        )
    return [item for item in slices if LOCALIZER not in image_type(item.file.header)]


def _with_planes(slices: list[Slice], rules: SeriesRules) -> list[Slice]:
    """Completes position, directions and spacing of slices: as the files state them, or as the rule assumes them."""
    needed = {"position": "position", "directions": "orientation", "spacing": "pixel spacing"}
    lacking = [name for name in needed if any(getattr(item, name) is None for item in slices)]
    if not lacking:
        return slices
    without_it = [item for item in slices if any(getattr(item, name) is None for name in lacking)]
    some = [name for name in lacking if any(getattr(item, name) is not None for item in slices)]
    if some == ["position"] and follow_the_first(slices):
        some = []  # the first frame states it for all, so only the distance is to be assumed
    if rules.assume_spacing is None or some:
        found = f"{_names(without_it)}: found no {' and no '.join(needed[name] for name in lacking)} in "
        found += f"{len(without_it)} of {len(slices)} images"
        raise ValueError(found + ("; the others say it" if some else advise_spacing(slices)))
    assumed = np.asarray(rules.assume_spacing, dtype=np.float64)
    slices = [replace(item, spacing=assumed[:2] if item.spacing is None else item.spacing) for item in slices]
    if "position" in lacking:
        return stack(slices, float(assumed[2]))
    return with_axial_directions(slices) if "directions" in lacking else slices


def _of_one_orientation(slices: list[Slice], rules: SeriesRules) -> list[Slice]:
    groups: list[list[Slice]] = []
    for item in slices:
        for group in groups:
            if np.abs(_directions(item) - _directions(group[0])).max() <= SAME_DIRECTION:
                group.append(item)
                break
        else:
            groups.append([item])
    groups.sort(key=len, reverse=True)
    if len(groups) == 1 or (rules.orientations == "largest" and len(groups[0]) > len(groups[1])):
        return groups[0]
    found = "; ".join(
        f"{len(group)} with {np.round(_directions(group[0]).ravel(), 4).tolist()} ({group[0].name})" for group in groups
    )
    raise ValueError(
        f"expected slices of one orientation, found {found}; the rule orientations='largest' takes the largest group"
    )


def _directions(item: Slice) -> Vector:
    assert item.directions is not None
    return item.directions


def _check_same(slices: list[Slice]) -> None:
    """Refuses slices of several sizes, pixel spacings or kinds of pixels."""
    for keyword in ("Rows", "Columns", "FrameOfReferenceUID"):
        found = {str(value): item for item in slices if (value := _element(item, keyword))}
        if len(found) > 1:
            shown = found if keyword != "FrameOfReferenceUID" else ("one", *["another"] * (len(found) - 1))
            each = ", ".join(f"{value} in {item.name}" for value, item in zip(shown, found.values(), strict=True))
            rule = f"the rule `series` can choose by {keyword}"
            raise ValueError(f"expected slices with the same {keyword}, found {each}; {rule}")
    coloured = {is_coloured(item.file): item for item in slices}
    if len(coloured) > 1:
        raise ValueError(
            f"expected colours or grey, found colours in {coloured[True].name}, grey in {coloured[False].name}"
        )
    spacings = np.array([item.spacing for item in slices])
    apart = np.flatnonzero((abs(spacings - spacings[0]) > SAME_SPACING * spacings[0]).any(axis=1))
    if len(apart):
        other = slices[int(apart[0])]
        raise ValueError(
            f"expected slices with the same pixel spacing, found {spacings[0].tolist()} mm in {slices[0].name} and "
            f"{spacings[apart[0]].tolist()} mm in {other.name}"
        )


def _element(item: Slice, keyword: str) -> Any:
    """Reads an element of the slice; the size of a tile in a picture of several slices with that of the picture."""
    value = item.file.header.get(keyword)
    if item.tile is not None and keyword in ("Rows", "Columns"):
        return f"{getattr(item.tile, keyword.lower())} in a grid of {value}"
    return value


def _names(slices: Sequence[Slice]) -> str:
    names = [item.name for item in slices]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
