"""Chooses volumes of a series by the rule `volume`, and refuses the others with their number and their element."""

from __future__ import annotations

import numpy as np

from fedmed_transforms.dicom.geometry.grid import UPRIGHT, Grid, duplicate_positions, select_slices
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.volumes.elements import ELEMENTS
from fedmed_transforms.dicom.volumes.told_apart import INSTANCE_NUMBER, Codes, ToldApart, tell_apart

SHOWN = 5
"""Positions, and volumes, that a message lists."""


def choose_volumes(grid: Grid, rules: SeriesRules) -> list[Grid]:
    """Chooses the volumes of a grid that the rule `volume` names; the whole grid where no slices share a position.

    Parameters
    ----------
    grid
        Of all slices of a series.
    rules
        The rule `volume`; with ``duplicates="drop"`` and no rule `volume` the grid stays whole.

    Returns
    -------
    list
        One grid, or with ``volume="channels"`` a grid for each volume, in the order of the volumes.

    Raises
    ------
    ValueError
        Slices share positions and no rule says which to take; or the rule names a volume that there is not, or that
        has not the same positions as the others. The message states the element and the number of volumes.
    """
    same = duplicate_positions(grid)
    if not same:
        _check_only(rules)
        return [grid]
    if rules.volume == "refuse" and rules.duplicates == "drop":
        return [grid]
    told = tell_apart(grid.slices, _position_numbers(grid, same))
    if told is None and rules.duplicates == "drop":
        return [grid]
    if told is None:
        raise ValueError(f"{describe_positions(grid, same)}{_ADVICE}")
    if rules.volume == "refuse":
        raise ValueError(f"found {describe(told)} (at one place: {_names(grid, same[0])}){_advice(told, grid)}")
    numbers = _numbers(told, rules, grid)
    chosen = [select_slices(grid, np.flatnonzero(told.volumes == number).tolist(), rules) for number in numbers]
    _check_same_places(chosen, told)
    return chosen


_ADVICE = ", told apart by no element; the rule duplicates='drop' drops those with the same pixels, `series` chooses"


def describe(told: ToldApart) -> str:
    """Describes volumes by their element, their number, and the numbers of their slices."""
    counts = [str(count) for count in told.counts]
    if told.are_complete:
        slices = f"{counts[0]} slices each"
    elif len(counts) <= SHOWN:
        slices = f"{', '.join(counts[:-1])} and {counts[-1]} slices"
    else:
        slices = f"{min(told.counts)} to {max(told.counts)} slices"
    return f"{len(counts)} volumes of {slices}, told apart by {' and '.join(told.names)}"


def rule_of(count: int, channels: bool) -> str:
    """States the values of the rule `volume` that load one of so many volumes, or all of them."""
    text = f"the rule volume='first' takes the first, volume={count - 1} the last of them"
    return text + (", volume='channels' makes each a channel" if channels else "")


def number_of(volume: str | int, count: int) -> int:
    """Returns the number of the volume that the rule names.

    Raises
    ------
    ValueError
        There are fewer volumes.
    """
    number = 0 if volume == "first" else int(volume)
    if number >= count:
        raise ValueError(f"volume: expected a number below {count}, the number of volumes, found {number}")
    return number


def _check_only(rules: SeriesRules) -> None:
    """Refuses the number of a volume beyond the only one."""
    if isinstance(rules.volume, int):
        number_of(rules.volume, 1)


def _numbers(told: ToldApart, rules: SeriesRules, grid: Grid) -> list[int]:
    if not told.are_complete and (rules.volume == "channels" or not told.are_separate):
        raise ValueError(f"expected volumes of the same positions, found {describe(told)}{_advice(told, grid)}")
    count = len(told.counts)
    if rules.volume == "channels":
        return list(range(count))
    try:
        return [number_of(rules.volume, count)]
    except ValueError as error:
        raise ValueError(f"{error}; there are {describe(told)}") from None


def _check_same_places(volumes: list[Grid], told: ToldApart) -> None:
    """Refuses channels whose slices lie beside each other at the same height."""
    ends = np.array([[volume.slices[index].position for index in (0, -1)] for volume in volumes])
    apart = np.linalg.norm(ends - ends[0], axis=2).max()  # (volumes, 2, 3) -> mm
    if apart > UPRIGHT * volumes[0].spacing.min():
        raise ValueError(f"expected volumes at one place as channels, found {describe(told)}, {apart:.2f} mm from "
                         f"the first; {rule_of(len(told.counts), channels=False)}")  # fmt: skip


def _advice(told: ToldApart, grid: Grid) -> str:
    if not told.are_complete and not told.are_separate:
        keywords = {element.keyword for element in ELEMENTS}
        text = ", some without a slice"
        if told.names[0] in keywords and all(item.file.frames == 1 for item in grid.slices):
            text += f"; the rule `series` can choose by {told.names[0]}"
        return text
    text = f"; {rule_of(len(told.counts), told.are_complete)}"
    if told.names == (INSTANCE_NUMBER,):
        text += "; the rule duplicates='drop' drops slices with the same pixels"
    return text


def _position_numbers(grid: Grid, same: list[list[int]]) -> Codes:
    repeated: Codes = np.zeros(len(grid.slices), dtype=np.int64)
    repeated[[index for group in same for index in group[1:]]] = 1
    return np.arange(len(repeated)) - np.cumsum(repeated)


def describe_positions(grid: Grid, same: list[list[int]]) -> str:
    """Describes positions with several slices, by the indices of the slices at each."""
    listed = "; ".join(_names(grid, group) for group in same[:SHOWN])
    return f"found {len(same)} positions with more than one slice: {listed}"


def _names(grid: Grid, group: list[int]) -> str:
    return ", ".join(grid.slices[index].name for index in group[:SHOWN]) + (", ..." if len(group) > SHOWN else "")
