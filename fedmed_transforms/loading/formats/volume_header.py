"""The header of a NRRD or MetaImage file: the geometry that it states, and the place of its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.loading.formats.stored_voxels import StoredVoxels

LARGEST_HEADER = 2**24
"""Bytes that a header may have; a segmentation's header holds names and colours of its segments."""


@dataclass(frozen=True)
class VolumeHeader:
    """The parts of a header that decide how, and whether, its voxels are read.

    Attributes
    ----------
    shape
        Lengths of all axes in the order of the file, the fastest first.
    channel_axis
        The place of the axis of channels among them; None without such an axis.
    unstated
        The parts of the geometry that the header does not state, in its own words.
    spaced
        Whether the header states the spacing.
    colours
        Whether the channels are the 8-bit samples of colours.
    voxels
        The place of the voxels.
    """

    shape: tuple[int, ...]
    channel_axis: int | None
    unstated: tuple[str, ...]
    spaced: bool
    colours: bool
    voxels: StoredVoxels

    @property
    def axes(self) -> int:
        """Number of axes in space, 2 or 3."""
        return len(self.shape) - (self.channel_axis is not None)


def data_file(header: Path, name: str) -> Path:
    """Returns the file of the voxels that a header names, which must lie in the header's folder or below it.

    Raises
    ------
    ValueError
        The name leads out of the folder, stands for several files, or the file does not exist.
    """
    if name.upper().split(" ")[0] == "LIST" or "%" in name:
        raise Damaged("voxels in several files, expected one file; convert the image to one .nrrd or .mha file")
    named = Path(name.replace("\\", "/"))
    if named.is_absolute() or ".." in named.parts or ":" in name:
        raise Damaged("voxels in a file outside of the header's folder, expected a file beside the header")
    path = header.parent / named
    if not path.is_file():
        raise Damaged("no file of the voxels, expected the file that the header names beside the header")
    return path


def numbers(text: str, field: str, count: int | None = None) -> tuple[float, ...]:
    """Reads the numbers of a field.

    Raises
    ------
    ValueError
        The field holds something else, or another count of numbers; the message names the field.
    """
    try:
        found = tuple(float(part) for part in text.split())
    except ValueError:
        raise Damaged(f"{field} that holds no numbers") from None
    if count is not None and len(found) != count:
        raise Damaged(f"{len(found)} numbers of {field}, expected {count}")
    return found


def lengths_of_axes(sizes: tuple[str, str], count: tuple[str, str]) -> tuple[int, ...]:
    """Reads the lengths of 2 to 4 axes, and compares their number with the stated one.

    Parameters
    ----------
    sizes, count
        Name and text of the field with the lengths, and of the field with the number of axes.

    Raises
    ------
    ValueError
        A field does not read, or they contradict each other; the message names both.
    """
    shape = lengths(sizes[1], sizes[0])
    if len(shape) != int(numbers(count[1], count[0], 1)[0]) or not 2 <= len(shape) <= 4:
        raise Damaged(f"{sizes[0]} {shape}, expected 2 to 4 axes, as many as {count[0]} says")
    return shape


def lengths(text: str, field: str) -> tuple[int, ...]:
    """Reads the lengths of axes: whole numbers, at least 1.

    Raises
    ------
    ValueError
        The field holds other numbers; the message names the field.
    """
    found = numbers(text, field)
    if not found or not all(1 <= length < 2**31 and length == int(length) for length in found):
        raise Damaged(f"{field} {found}, expected whole numbers of at least 1")
    return tuple(int(length) for length in found)
