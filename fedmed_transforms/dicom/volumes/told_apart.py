"""Finds the elements that tell slices at one position apart, and with them the volumes of a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fedmed_transforms.dicom.planes import decimals_of
from fedmed_transforms.dicom.slices import Slice
from fedmed_transforms.dicom.volumes.elements import ELEMENTS, SliceElements, Value, VolumeElement

Codes: TypeAlias = npt.NDArray[np.int64]
"""An integer for each slice: of its position, or of an element's value, in the order of the values."""

INSTANCE_NUMBER = "InstanceNumber"


@dataclass(frozen=True, eq=False)
class ToldApart:
    """The volumes of slices.

    Attributes
    ----------
    names
        The elements that tell the volumes apart.
    volumes
        The number of each slice's volume, from 0.
    positions
        The number of each slice's position, from 0 along the normal.
    """

    names: tuple[str, ...]
    volumes: Codes
    positions: Codes

    @property
    def counts(self) -> list[int]:
        """How many slices each volume has."""
        return [int(count) for count in np.bincount(self.volumes)]

    @property
    def are_complete(self) -> bool:
        """Whether every volume has a slice at every position."""
        return set(self.counts) == {int(self.positions.max()) + 1}

    @property
    def are_separate(self) -> bool:
        """Whether the volumes are acquisitions of different places: no two share more than half of their positions."""
        held: Codes = np.zeros((len(self.counts), int(self.positions.max()) + 1), dtype=np.int64)
        held[self.volumes, self.positions] = 1
        shared = held @ held.T
        of_either = np.diag(shared)[:, None] + np.diag(shared)[None] - shared
        return bool((2 * shared <= of_either)[~np.eye(len(held), dtype=bool)].all())


def tell_apart(slices: Sequence[Slice], positions: Codes) -> ToldApart | None:
    """Finds the volumes of slices by the first element, or the first elements, that tell them apart.

    Asked are one element that tells all slices of every position apart, several that do so together, and the
    InstanceNumber or the order of frames; of volumes without all positions, one element again.

    Parameters
    ----------
    slices
        In order along their normal.
    positions
        The number of each slice's position.

    Returns
    -------
    ToldApart or None
        None where no element tells the slices apart.
    """
    elements, shared, partial = SliceElements(slices), [], None
    for element in ELEMENTS:
        name, values = elements.values(element)
        codes = _coded(values, element, slices)
        keys = _of_every_position(codes, positions, element)
        if keys is not None and _tells_apart(keys, positions):
            return ToldApart((name,), keys, positions)
        if keys is not None:
            shared.append((name, keys))
        elif partial is None and _is_partial(codes, positions):
            partial = ToldApart((name,), codes, positions)
    return _together(shared, positions) or _by_number(slices, positions, shared) or partial


def _coded(values: Sequence[Value], element: VolumeElement, slices: Sequence[Slice]) -> Codes:
    """Numbers the values of an element in their order; a slice without a value comes first."""
    order: list[Value] = [None] if None in values else []
    if element.numeric:
        order += sorted({value for value in values if isinstance(value, float)})
    else:
        in_file = sorted(range(len(slices)), key=lambda index: place_in_series(slices[index]))
        order += dict.fromkeys(values[index] for index in in_file if values[index] is not None)
    codes = {value: number for number, value in enumerate(order)}
    return np.array([codes[value] for value in values])


def _of_every_position(codes: Codes, positions: Codes, element: VolumeElement) -> Codes | None:
    """Returns codes that occur, and vary, at every position alike: those of the values, or of their ranks."""
    if not codes.any():
        return None
    pairs = np.unique(np.stack([positions, codes]), axis=1)
    if (np.bincount(pairs[1]) == positions.max() + 1).all():
        return codes
    each = np.bincount(pairs[0])
    if not element.ranked or each.min() != each.max() or each[0] == 1:
        return None
    ranks = np.arange(pairs.shape[1]) % each[0]  # the pairs are in order of position, then of value
    keys = ranks[np.searchsorted(pairs[0] * (codes.max() + 1) + pairs[1], positions * (codes.max() + 1) + codes)]
    return keys if not element.in_turn or _is_in_turn(keys, codes) else None


def _is_in_turn(keys: Codes, codes: Codes) -> bool:
    """Checks that all values of a volume come before those of the next."""
    ends = [(codes[keys == key].min(), codes[keys == key].max()) for key in range(int(keys.max()) + 1)]
    return all(last <= first for (_, last), (first, _) in zip(ends[:-1], ends[1:], strict=True))


def _tells_apart(keys: Codes, positions: Codes) -> bool:
    return np.unique(np.stack([positions, keys]), axis=1).shape[1] == len(keys)


def _is_partial(codes: Codes, positions: Codes) -> bool:
    """Checks whether values tell apart volumes of which some have no slice at some positions."""
    several = codes.any() and int(codes.max()) + 1 == int(np.bincount(positions).max())
    return bool(several) and _tells_apart(codes, positions)


def _together(shared: Sequence[tuple[str, Codes]], positions: Codes) -> ToldApart | None:
    """Finds the elements that tell slices apart together, in the order of the elements."""
    names: list[str] = []
    keys = np.zeros_like(positions)
    for name, codes in shared:
        refined = np.unique(keys * (codes.max() + 1) + codes, return_inverse=True)[1]
        if refined.max() > keys.max():
            keys = refined
            names.append(name)
    told = ToldApart(tuple(names), keys, positions)
    return told if _tells_apart(keys, positions) and told.are_complete else None


def _by_number(slices: Sequence[Slice], positions: Codes, shared: Sequence[tuple[str, Codes]]) -> ToldApart | None:
    """Finds volumes by the InstanceNumber, or by the order of frames.

    Files that hold a volume each are told apart by their numbers. Else all slices of a volume must come before those of
    the next, or all slices of a position before those of the next, and no volume may mix values of the elements that
    vary at every position: numbers say nothing of what they count.
    """
    several = len({item.file.name for item in slices}) > 1
    name = INSTANCE_NUMBER if several else "the order of the frames"
    files = _numbered([(_instance_number(item), 0) for item in slices])
    if _of_every_position(files, positions, VolumeElement(name)) is not None and _tells_apart(files, positions):
        return ToldApart((name,), files, positions)
    codes = _numbered([place_in_series(item) for item in slices])
    each = np.bincount(positions)
    if len(set(codes)) < len(slices) or each.min() != each.max():
        return None
    order = np.lexsort((codes, positions))
    keys = np.empty_like(codes)
    keys[order] = np.arange(len(codes)) % each[0]
    in_blocks = np.ptp(codes[order].reshape(-1, each[0]), axis=1).max() == each[0] - 1  # (positions, volumes)
    mixed = any(len(np.unique(np.stack([keys, values]), axis=1).T) > each[0] for _, values in shared)
    return ToldApart((name,), keys, positions) if (in_blocks or _is_in_turn(keys, codes)) and not mixed else None


def _numbered(places: Sequence[tuple[int, int]]) -> Codes:
    order = {place: code for code, place in enumerate(sorted(set(places)))}
    return np.array([order[place] for place in places])


def _instance_number(item: Slice) -> int:
    """Reads the InstanceNumber of a slice's file, 0 where it states none."""
    numbers = decimals_of(item.file.header, INSTANCE_NUMBER)
    return int(numbers[0]) if numbers else 0


def place_in_series(item: Slice) -> tuple[int, int]:
    """Returns the InstanceNumber of a slice's file, and the place of its frame in the file."""
    return _instance_number(item), item.frame
