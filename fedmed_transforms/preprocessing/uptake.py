"""Converts PET images to standardised uptake values: activity by injected activity and body weight."""

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
"""The largest plausible age of a dose: after it a thousandth of the activity is left, so a date or time is wrong."""


DECAY_CORRECTED = {"DECY", "DECAY"}
"""DICOM's term for decay correction (PS3.3, C.8.9.1.1.3), and the term of the QIBA profile's pseudo-code."""


class ToUptake(Transform):
    """Converts a PET image from Bq/mL to SUVbw in g/mL, the uptake standardised by body weight.

    SUVbw = activity x weight in g / (dose x 2 ** (-t / half-life)), where t runs from the administration to the moment
    to which the activity was corrected for decay: the start of the scan for DecayCorrection START, and t = 0 for ADMIN.
    The scan starts at the time of the series, or at the time of the acquisition if it is earlier; the series time then
    belongs to a later processing. A time of administration without a date that is later than the scan is of the day
    before. Source: QIBA Profile FDG-PET/CT 1.13, appendix G, "Vendor-neutral pseudo-codes for SUV calculation". The
    private elements of that pseudo-code are not read. As in the profile, activity left in the syringe is unknown.

    An image in g/mL (Units GML) holds SUVbw already and is returned unchanged; the result of this transform has Units
    GML.

    The image's ``meta["dicom"]`` holds by keyword: Modality, Units, CorrectedImage, DecayCorrection, PatientWeight
    (kg), RadionuclideTotalDose (Bq), RadionuclideHalfLife (s), SeriesDate, SeriesTime, AcquisitionDate and
    AcquisitionTime (the earliest of the series), and RadiopharmaceuticalStartDateTime, whose offset from UTC is assumed
    to be the scanner's, or RadiopharmaceuticalStartTime.

    Raises
    ------
    ValueError
        An element is missing or contradicts the formula; the message names the file and the keyword.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ToUptake
    >>> elements = {
    ...     "Modality": "PT", "Units": "BQML", "CorrectedImage": "ATTN\\\\DECY", "DecayCorrection": "ADMIN",
    ...     "PatientWeight": "70", "RadionuclideTotalDose": "350000000",
    ... }
    >>> ToUptake()(MetaTensor(torch.tensor([5000.0]), meta={"dicom": elements})).tolist()
    [1.0]
    """

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Converts an image of any shape, float values in and out."""
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
    """Converts the images of a dictionary as :class:`ToUptake` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ToUptaked
    >>> image = MetaTensor(torch.tensor([2.5]), meta={"dicom": {"Modality": "PT", "Units": "GML"}})
    >>> ToUptaked("image")({"image": image})["image"].tolist()
    [2.5]
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_uptake = ToUptake()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts the image of every key to SUVbw."""
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
    """Returns the number of half-lives from the administration to the start of the scan."""
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
