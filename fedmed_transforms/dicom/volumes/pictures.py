"""Chooses among pictures without a position: the frames of a cine, and the pictures of a series."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed_transforms.dicom.dicom_file import DicomFile, is_coloured, read_dicom_file
from fedmed_transforms.dicom.geometry.assumed_spacing import advise_spacing
from fedmed_transforms.dicom.geometry.stack import has_position
from fedmed_transforms.dicom.header_index import tags_of
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.slices import Slice
from fedmed_transforms.dicom.volumes.choice import number_of, rule_of
from fedmed_transforms.dicom.volumes.told_apart import place_in_series

IN_TIME = ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate")
"""Elements of frames that follow each other in time (PS3.3, C.7.6.5)."""

CINE_MODALITIES = ("US", "IVUS", "XA", "RF", "ES", "GM", "XC")
"""Modalities whose frames follow each other in time; frames of others may be slices."""

SHOWN = 5


def choose_pictures(slices: Sequence[Slice], rules: SeriesRules) -> list[Slice]:
    """Chooses the pictures that the rule `volume` names among several pictures without a position.

    Returns
    -------
    list
        The pictures; none where the slices are not several pictures.

    Raises
    ------
    ValueError
        There are several pictures and no rule `volume`, or it names none of them, or they are of several sizes and are
        to become channels; the message names them and the rule.
    """
    if len(slices) == 1 or rules.assume_spacing is not None or any(has_position(item) for item in slices):
        return []
    pictures = sorted(slices, key=lambda item: (*place_in_series(item), item.name))
    if rules.volume == "refuse":
        raise ValueError(_refusal(pictures))
    if rules.volume != "channels":
        return [pictures[number_of(rules.volume, len(pictures))]]
    sizes = {_size(item): item for item in pictures}
    if len(sizes) > 1:
        first, second = list(sizes.values())[:2]
        raise ValueError(f"expected pictures of one size and kind as channels, found others in {first.name} and "
                         f"{second.name}; {rule_of(len(pictures), channels=False)}")  # fmt: skip
    return pictures


def _size(item: Slice) -> tuple[object, ...]:
    header = item.file.header
    return header.get("Rows"), header.get("Columns"), is_coloured(item.file)


def _refusal(pictures: Sequence[Slice]) -> str:
    files = list(dict.fromkeys(item.file.name for item in pictures))
    names = ", ".join(files[:SHOWN]) + (f" and {len(files) - SHOWN} more" if len(files) > SHOWN else "")
    lacking = "no position" + (" and no orientation" if all(item.directions is None for item in pictures) else "")
    frames, in_time = pictures[0].file.frames > 1, _in_time(pictures[0].file)
    count = len(pictures)
    told = f", {count} frames {in_time}" if frames and in_time else f", {count} frames" if frames else ""
    text = f"{names}: found {lacking} in {count} of {count} images{told}; {rule_of(count, _are_alike(pictures))}"
    return text if in_time else text + advise_spacing(pictures)


def _are_alike(pictures: Sequence[Slice]) -> bool:
    return len({_size(item) for item in pictures}) == 1


def _in_time(file: DicomFile) -> str:
    """Returns the element by which frames follow each other in time; empty where they may be slices."""
    header = read_dicom_file(file.source, file.name, tags_of(list(IN_TIME))).header
    stated = next((keyword for keyword in IN_TIME if header.get(keyword)), "")
    if stated:
        return f"in time ({stated})"
    return f"of the modality {header.Modality}" if header.get("Modality") in CINE_MODALITIES else ""
