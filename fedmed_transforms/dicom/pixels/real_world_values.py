"""Says once that a RealWorldValueMappingSequence is not applied to the values of an image."""

from __future__ import annotations

import logging
from functools import lru_cache

from fedmed_transforms.dicom.slices import Slice

logger = logging.getLogger(__name__)

MAPPING = "RealWorldValueMappingSequence"


def note_real_world_values(item: Slice) -> None:
    """Logs once a process that an image has a mapping to real-world values, which is not that of its rescale.

    The loader gives the modality's values, as SimpleITK and dcm2niix do: a file may state several mappings with units
    of their own (PS3.3, C.7.6.16.2.11), and none of them is the image's.
    """
    if _differs(item):
        _log()


def _differs(item: Slice) -> bool:
    """Checks whether a mapping is stated that is not the rescale of the slice; a damaged one differs."""
    header = item.file.header
    groups = [header.get(f"{kind}FunctionalGroupsSequence") or [] for kind in ("PerFrame", "Shared")]
    holders = [holder for holder in (header, *(group[0] for group in groups if group)) if MAPPING in holder]
    try:
        mappings = [mapping for holder in holders for mapping in holder[MAPPING].value]
        stated = [(float(one.RealWorldValueSlope), float(one.RealWorldValueIntercept)) for one in mappings]
    except Exception:  # the parser raises a dozen kinds
        return True
    return any(pair != (item.slope, item.intercept) for pair in stated)


@lru_cache(maxsize=1)
def _log() -> None:
    logger.warning(
        "images state a mapping of their values to real-world values (%s), which is not applied: the values are those "
        "of the modality, stored values with RescaleSlope and RescaleIntercept",
        MAPPING,
    )
