"""Chooses what happens to an element of DICOM in a cleaned copy, by the table of PS3.15, Annex E.

The table is that of dicom-anonymizer: Table E.1-1 of the standard's edition 2026c, the column of the Basic Application
Level Confidentiality Profile. Three options of the standard change it: dates are shifted and times stay (Retain
Longitudinal Temporal Information With Modified Dates), age, sex, size, weight and their like stay (Retain Patient
Characteristics), and names of segments and structures stay if they hold no name or number that the study states
(Clean Descriptors). Where the table leaves a choice that depends on the object's kind, the element stays empty or gets
a dummy value if an object may require it, and else goes.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag

from fedmed_transforms.patients.identifying_keywords import IDENTIFYING

EDITION = "dicomfields_2026c"

METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
SAFE_PRIVATE = ("113111", "Retain Safe Private Option")
"""Codes and meanings of PS3.16, CID 7050."""

CHARACTERISTICS = frozenset(
    "EthnicGroup EthnicGroups PatientAge PatientSex PatientSexNeutered PatientSize PatientWeight PregnancyStatus "
    "SmokingStatus".split()
)
"""Elements that the option Retain Patient Characteristics keeps."""

DESCRIPTORS = frozenset("ROIName SegmentLabel SegmentDescription".split())
"""Elements without which a label does not tell what it shows."""

PERSONAL_DATES = frozenset(
    "PatientBirthDate PatientBirthTime PatientDeathDateInAlternativeCalendar PatientBirthDateInAlternativeCalendar "
    "PatientAlternativeCalendar".split()
)

EMPTIED = frozenset(
    "AcquisitionContextSequence BarcodeValue ContentCreatorName ContrastBolusAgent LabelText OperatorsName "
    "ReviewerName SourceSerialNumber TreatmentMachineName".split()
)
"""Elements of the table's X/Z and Z/D that some object requires to be there."""

FILLED = frozenset(("DeviceSerialNumber",))
"""Elements of the table's X/Z/D that some object requires to have a value (PS3.3, C.7.5.2)."""

KEPT_UIDS = (
    "ClassUID", "TransferSyntaxUID", "CodingSchemeUID", "ContextUID", "MappingResourceUID",
    "ContextGroupExtensionCreatorUID",
)  # fmt: skip
"""Ends of the keywords of UIDs that name no instance."""


class Action(Enum):
    """What happens to an element: the codes of PS3.15, Table E.1-1a, and the shift of a date."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    CLEAN = "C"
    SHIFT = "C, a date"


@lru_cache(maxsize=1)
def _table() -> dict[int, Action]:
    tags = dicom_anonymization_database_selector(EDITION)
    lists = {
        "X_TAGS": Action.REMOVE, "Z_TAGS": Action.EMPTY, "D_TAGS": Action.DUMMY, "X_Z_TAGS": Action.REMOVE,
        "X_D_TAGS": Action.REMOVE, "X_Z_D_TAGS": Action.REMOVE, "Z_D_TAGS": Action.EMPTY,
        "X_Z_U_STAR_TAGS": Action.CLEAN,
    }  # fmt: skip
    table = {it[0] << 16 | it[1]: action for name, action in lists.items() for it in tags[name] if len(it) == 2}
    by_keyword = {**dict.fromkeys(EMPTIED, Action.EMPTY), **dict.fromkeys(FILLED, Action.DUMMY)}
    return {tag: by_keyword.get(keyword_for_tag(tag), action) for tag, action in table.items()}


def action_for(tag: BaseTag, representation: str) -> Action:
    """Chooses the action for an element that is not private.

    Parameters
    ----------
    tag
        The element.
    representation
        Its value representation.
    """
    keyword = keyword_for_tag(tag)
    if tag.group & 0xFF00 in (0x5000, 0x6000):
        return Action.REMOVE
    if keyword in PERSONAL_DATES:
        return Action.EMPTY if keyword == "PatientBirthDate" else Action.REMOVE
    if representation in ("DA", "DT"):
        return Action.SHIFT
    if representation == "TM" or keyword in CHARACTERISTICS:
        return Action.KEEP
    if keyword in DESCRIPTORS:
        return Action.CLEAN
    if representation == "UI" and keyword not in IDENTIFYING:
        return Action.KEEP if keyword.endswith(KEPT_UIDS) else Action.UID
    return _other(tag, keyword, representation)


def _other(tag: BaseTag, keyword: str, representation: str) -> Action:
    action = _table().get(int(tag))
    if action is not None and not (representation == "SQ" and action is Action.DUMMY):
        return action
    if keyword in IDENTIFYING:
        return Action.REMOVE if representation in ("SQ", "OB", "UI") else Action.EMPTY
    return Action.EMPTY if representation == "PN" else Action.CLEAN
