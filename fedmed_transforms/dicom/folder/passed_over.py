"""Passes over what lies beside the images of a series in a folder, and says it once.

A message holds counts, paths, modalities and sizes, and no text of a header that may name a patient.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pydicom.dataset import Dataset

from fedmed_transforms.dicom.dicom_file import DicomFile

logger = logging.getLogger(__name__)

SECONDARY_CAPTURES = tuple(f"1.2.840.10008.5.1.4.1.1.7{ending}" for ending in ("", ".1", ".2", ".3", ".4"))
"""SOP classes of secondary captures, of one frame and of several (PS3.4, B.5)."""

CAPTURED = ("SCREEN SAVE", "DOSE_INFO", "DOSE INFO", "DOSE REPORT", "CSA REPORT")
"""Values of ImageType with which scanners mark pictures of a screen, a dose or a report."""

LOCALIZER = "LOCALIZER"


def image_type(header: Dataset) -> list[str]:
    """Reads the values of ImageType; none where it is absent or damaged."""
    try:
        value = header.get("ImageType") or []
    except Exception:  # the parser raises a dozen kinds
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value]


def accompanies(header: Dataset) -> str:
    """Returns the kind of a picture that accompanies images: a secondary capture or a localiser; empty for an image."""
    if header.get("SOPClassUID") in SECONDARY_CAPTURES or any(part in CAPTURED for part in image_type(header)):
        return "secondary captures"
    return "localisers" if LOCALIZER in image_type(header) else ""


def accompanying_series(groups: Mapping[str, Sequence[Dataset]], rule: object = None) -> dict[str, str]:
    """Finds the series that only accompany the images of other series.

    Parameters
    ----------
    groups
        Headers by series.
    rule
        The rule ``series``. Where it names ImageType, localisers are what it asks for.

    Returns
    -------
    dict
        The kind of each such series; empty where no series of images is left beside them.
    """
    if len(groups) < 2:
        return {}
    named = isinstance(rule, Mapping) and "ImageType" in rule
    kinds = {uid: _kind(headers) for uid, headers in groups.items()}
    found = {uid: kind for uid, kind in kinds.items() if kind and not (named and kind == "localisers")}
    return found if len(found) < len(groups) else {}


def _kind(headers: Sequence[Dataset]) -> str:
    first = accompanies(headers[0])
    return first if first and all(accompanies(header) == first for header in headers[1:]) else ""


def without_captures(files: Sequence[DicomFile]) -> list[DicomFile]:
    """Leaves out secondary captures that lie among the images of their series."""
    images = [file for file in files if accompanies(file.header) != "secondary captures"]
    return images or list(files)


@lru_cache(maxsize=4096)
def say_once(text: str) -> None:
    """Logs a warning, once in this process."""
    logger.warning("%s", text)
