"""Reads dates and times of DICOM headers as seconds, so that their order is that of time."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

from fedmed_transforms.dicom.dicom_file import text_of

TIME_PAIRS = {"AcquisitionTime": "AcquisitionDate", "ContentTime": "ContentDate"}
"""Times of the day (TM), and the elements of their dates."""

DAY = 86_400


def is_time(keyword: str) -> bool:
    """Checks whether an element is a time of the day, or a date and time."""
    return keyword in TIME_PAIRS or keyword.endswith("DateTime")


def seconds_of(holder: Dataset, keyword: str) -> float | None:
    """Reads a date and time (DT), or a time of the day (TM) with its date, as seconds since the first day.

    Returns
    -------
    float or None
        None where the element does not read as a time.
    """
    try:
        if keyword not in TIME_PAIRS:
            return _seconds(DT(text_of(holder, keyword).strip()))
        day = DA(text_of(holder, TIME_PAIRS[keyword]).strip())
        return _seconds(TM(text_of(holder, keyword).strip()), day)
    except (ValueError, OverflowError):
        return None


def _seconds(time: TM | DT | None, day: DA | None = None) -> float:
    if time is None:
        raise ValueError
    days = time.toordinal() if isinstance(time, DT) else day.toordinal() if day is not None else 0
    return float(DAY * days + 3600 * time.hour + 60 * time.minute + time.second) + time.microsecond / 1e6
