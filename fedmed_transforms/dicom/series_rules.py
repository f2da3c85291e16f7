"""Rules for an image that is refused by default, such as a DICOM series that is no regular volume."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pydicom.datadict import tag_for_keyword

CHOICES = {
    "localisers": ("refuse", "drop"),
    "orientations": ("refuse", "largest"),
    "duplicates": ("refuse", "drop"),
    "uneven": ("refuse", "resample"),
    "tilt": ("refuse", "shear"),
    "padding": ("lowest", "keep"),
}
"""The values that each rule may have; the first is the default."""

VOLUMES = ("refuse", "first", "channels")
"""The values of the rule `volume` besides the number of a volume."""


@dataclass(frozen=True)
class SeriesRules:
    """The rules that select a series and state how an irregular one is loaded.

    Attributes
    ----------
    series
        The series to load of several: a SeriesInstanceUID, ``"largest"`` (the one with most slices), or a mapping
        from DICOM keywords to regular expressions: only files whose elements match wholly are looked at
        (``{"Modality": "CT", "ImageType": ".*AXIAL.*"}``).
    localisers
        Localisers among other images: ``"refuse"`` or ``"drop"``.
    orientations
        Slices of several orientations: ``"refuse"``, or take the ``"largest"`` group of one orientation.
    duplicates
        Slices at the same position: ``"refuse"``, or ``"drop"`` all but the first of those with the same pixels.
    volume
        Several volumes in one series or file (time points, echoes, b-values, acquisitions, magnitude and phase, the
        pictures of a cine): ``"refuse"``, take the ``"first"`` or that of a number from 0, or make each of them a
        channel with ``"channels"``. They are in the order of the element that tells them apart, which the error names.
    uneven
        Missing or unevenly spaced slices: ``"refuse"``, or ``"resample"`` linearly at the smallest distance found.
    tilt
        Slices that are shifted against each other (tilted gantry): ``"refuse"``, or ``"shear"`` them back upright.
    padding
        Pixels that the file declares as padding: set them to the ``"lowest"`` real value, or ``"keep"`` theirs.
    assume_spacing
        Millimetres along x, y and z, used only where no file of the series states them. Slices without positions are
        stacked in the order of their InstanceNumber, from the origin or from the position of the first frame if the
        file states it, along their own normal if they state their orientation and at their SpacingBetweenSlices if they
        state that; without an orientation they are axial. Slices without an orientation whose positions are not those
        of axial slices are refused. The rule also completes a NRRD or MetaImage file that lacks a part of its geometry.
    nan
        The number to put in the place of voxels that are no finite number; None refuses them. Labels stay refused.
    full_scale
        The largest value that the scanner gives in pictures of more than 8 bits (4095 for 12 bits in a 16-bit PNG);
        None takes the largest value of the file format.

    Raises
    ------
    ValueError
        A rule has an unknown value.

    Examples
    --------
    >>> from fedmed_transforms import SeriesRules
    >>> SeriesRules(tilt="shear", uneven="resample").tilt
    'shear'
    """

    series: str | Mapping[str, str] | None = None
    localisers: str = "refuse"
    orientations: str = "refuse"
    duplicates: str = "refuse"
    volume: str | int = "refuse"
    uneven: str = "refuse"
    tilt: str = "refuse"
    padding: str = "lowest"
    assume_spacing: Sequence[float] | None = None
    nan: float | None = None
    full_scale: float | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, found {getattr(self, name)!r}")
        spacing = self.assume_spacing
        if spacing is not None and not (
            isinstance(spacing, Sequence)
            and len(spacing) == 3
            and all(isinstance(value, (int, float)) and 0 < value < 1e6 for value in spacing)
        ):
            raise ValueError(f"assume_spacing: expected millimetres along x, y and z, found {spacing!r}")
        _check_volume(self.volume)
        for name, least in (("nan", -math.inf), ("full_scale", 0.0)):
            _check_number(name, getattr(self, name), least)
        _check_series(self.series)

    @classmethod
    def of(cls, rules: Mapping[str, Any]) -> SeriesRules:
        """Builds rules from keywords.

        Raises
        ------
        ValueError
            A keyword is no rule; the message lists the rules.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(rules) - set(known))
        if unknown:
            raise ValueError(f"expected the rules {', '.join(known)}, found {', '.join(unknown)}")
        return cls(**rules)


def _check_volume(volume: Any) -> None:
    if volume not in VOLUMES and (not isinstance(volume, int) or isinstance(volume, bool) or volume < 0):
        raise ValueError(f"volume: expected one of {', '.join(VOLUMES)} or a number from 0, found {volume!r}")


def _check_number(name: str, value: Any, least: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and math.isfinite(value) and value > least):
        above = "" if least == -math.inf else f" above {least:g}"
        raise ValueError(f"{name}: expected a number{above}, found {value!r}")


def _check_series(series: Any) -> None:
    if series is None or isinstance(series, str):
        return
    if not isinstance(series, Mapping):
        raise ValueError(f"series: expected a SeriesInstanceUID, 'largest' or a mapping, found {series!r}")
    for keyword, pattern in series.items():
        if tag_for_keyword(str(keyword)) is None:
            raise ValueError(f"series: expected keywords of DICOM elements, found {keyword!r}")
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"series: {keyword}: expected a regular expression, found {pattern!r}: {error}") from error
