"""PET images to standardised uptake values: activity by injected activity and body weight."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import datetime, timedelta
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from pydicom.valuerep import DA, DT, TM

from fedmed_transforms.image_metadata import DICOM, dicom_of, file_of, number, required

PURPOSE = "the standardised uptake value"

MOST_HALF_LIVES = 10
"""After so many half-lives a thousandth of the activity is left, and nobody scans: then a date or a time is wrong."""


DECAY_CORRECTED = {"DECY", "DECAY"}
"""DICOM's term for decay correction (PS3.3, C.8.9.1.1.3), and the one of the QIBA profile's pseudo-code."""


class ToUptake(Transform):
    """Takes a PET image from Bq/mL to SUVbw in g/mL, the uptake standardised by body weight.

    SUVbw = activity x weight in g / (dose x 2 ** (-t / half-life)), where t runs from the administration to the moment
    to which the activity was corrected for decay: the start of the scan for DecayCorrection START, and none for ADMIN.
    The scan starts at the series' time, or at the acquisition's if that is earlier, as the series' time is that of a
    processing then. A time of administration without a date, later than the scan, is of the day before. Source: QIBA
    Profile FDG-PET/CT 1.13, appendix G, "Vendor-neutral pseudo-codes for SUV calculation"; private elements, with
    which it continues there, are not read. Like there, activity left in the syringe is not known.

    An image in g/mL (Units GML) is SUVbw already and returned as it is; what this transform returns says so.

    The image's ``meta["dicom"]`` holds by keyword: Modality, Units, CorrectedImage, DecayCorrection, PatientWeight
    (kg), RadionuclideTotalDose (Bq), RadionuclideHalfLife (s), SeriesDate, SeriesTime, AcquisitionDate and
    AcquisitionTime (the earliest of the series), and RadiopharmaceuticalStartDateTime, whose offset from UTC is taken
    for the scanner's, or RadiopharmaceuticalStartTime.

    Raises
    ------
    ValueError
        An element is missing or contradicts the formula; the message names the file and the keyword.
    """

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Any shape, float values in and out."""
        _check(image, "Modality", required(image, "Modality", PURPOSE), ["PT"])
        _check(image, "Units", required(image, "Units", PURPOSE), ["BQML", "GML"])
        if dicom_of(image)["Units"] == "GML":
            _check(image, "SUVType", dicom_of(image).get("SUVType") or "BW", ["BW"])
            return image
        uptake = image.float() * _grams_per_becquerel(image)
        if isinstance(uptake, MetaTensor):
            uptake.meta = {**uptake.meta, DICOM: {**dicom_of(image), "Units": "GML", "SUVType": "BW"}}
        return uptake


class ToUptaked(MapTransform):
    """Dictionary form of :class:`ToUptake`."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_uptake = ToUptake()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes every key's image to SUVbw."""
        return {**data, **{key: self.to_uptake(data[key]) for key in self.key_iterator(data)}}


def _grams_per_becquerel(image: torch.Tensor) -> float:
    corrected = required(image, "CorrectedImage", PURPOSE).split("\\")
    if "ATTN" not in corrected or not DECAY_CORRECTED & set(corrected):
        raise ValueError(f"{file_of(image)}: CorrectedImage: found {corrected}, expected ATTN and DECY among them")
    correction = required(image, "DecayCorrection", PURPOSE)
    _check(image, "DecayCorrection", correction, ["START", "ADMIN"])
    weight, dose = _positive(image, "PatientWeight"), _positive(image, "RadionuclideTotalDose")
    return 1000 * weight / (dose * (2 ** -_half_lives(image) if correction == "START" else 1))


def _half_lives(image: torch.Tensor) -> float:
    """From the administration to the start of the scan."""
    half_life = _positive(image, "RadionuclideHalfLife")
    scan = _scan_start(image)
    seconds = (scan - _administration(image, scan)).total_seconds()
    if not 0 <= seconds <= MOST_HALF_LIVES * half_life:
        raise ValueError(
            f"{file_of(image)}: found a scan {seconds:g} s after RadiopharmaceuticalStartTime or -DateTime, expected "
            f"0 to {MOST_HALF_LIVES} half-lives of {half_life:g} s"
        )
    return seconds / half_life


def _scan_start(image: torch.Tensor) -> datetime:
    return min(
        datetime.combine(_parsed(image, f"{event}Date", DA), _parsed(image, f"{event}Time", TM))
        for event in ("Series", "Acquisition")
    )


def _administration(image: torch.Tensor, scan: datetime) -> datetime:
    if dicom_of(image).get("RadiopharmaceuticalStartDateTime"):
        moment = _parsed(image, "RadiopharmaceuticalStartDateTime", DT)
        return datetime.combine(moment.date(), moment.time())
    moment = datetime.combine(scan.date(), _parsed(image, "RadiopharmaceuticalStartTime", TM))
    return moment if moment <= scan else moment - timedelta(days=1)


def _parsed(image: torch.Tensor, keyword: str, kind: type[Any]) -> Any:
    value = required(image, keyword, PURPOSE)
    try:
        return kind(value)
    except ValueError as error:
        raise ValueError(f"{file_of(image)}: {keyword}: found {value!r}, expected a DICOM {kind.__name__}") from error


def _positive(image: torch.Tensor, keyword: str) -> float:
    value = number(image, keyword, PURPOSE)
    if not 0 < value < float("inf"):
        raise ValueError(f"{file_of(image)}: {keyword}: found {value:g}, expected a positive number")
    return value


def _check(image: torch.Tensor, keyword: str, found: Any, expected: list[str]) -> None:
    if found not in expected:
        raise ValueError(f"{file_of(image)}: {keyword}: found {found}, expected {' or '.join(expected)}")
