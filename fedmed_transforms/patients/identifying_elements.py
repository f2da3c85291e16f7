"""Finds elements of a DICOM file that identify a person directly, or the place and the device of the image.

The rule follows the basic profile of DICOM PS3.15, Annex E, for names, numbers and addresses: it finds every person
name, the elements of :data:`IDENTIFYING`, private elements (their content is unknown) and the flags for identifying
pixels. The rule is a check before data leave a site, and no de-identification: it does not check dates (except of birth
and death), UIDs, descriptions in free text, overlays and the pixels themselves. An empty element does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from fedmed_transforms.dicom.silenced_parsers import without_parser_texts

IDENTIFYING = frozenset(
    (
        # the patient
        "PatientID", "IssuerOfPatientID", "OtherPatientIDs", "MedicalRecordLocator", "InsurancePlanIdentification",
        "PatientInsurancePlanCodeSequence", "ReferencedPatientAliasSequence", "PatientBirthDate", "PatientBirthTime",
        "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "PatientAddress",
        "PatientTelephoneNumbers", "PatientTelecomInformation", "CountryOfResidence", "RegionOfResidence",
        "MilitaryRank", "BranchOfService", "PatientComments",
        # the visit and the order
        "AccessionNumber", "AdmissionID", "ServiceEpisodeID", "CurrentPatientLocation", "PatientInstitutionResidence",
        "RequestedProcedureID", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
        "OrderCallbackPhoneNumber", "OrderCallbackTelecomInformation",
        # staff, besides their names
        "PersonAddress", "PersonTelephoneNumbers", "PersonTelecomInformation", "PersonIdentificationCodeSequence",
        "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers",
        "ReferringPhysicianIdentificationSequence", "OperatorIdentificationSequence",
        # the institution
        "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "InstitutionCodeSequence",
        "RequestingService", "ResponsibleOrganization", "VerifyingOrganization", "CustodialOrganizationSequence",
        # the device
        "StationName", "PerformedStationName", "ScheduledStationName", "PerformedStationAETitle",
        "ScheduledStationAETitle", "RetrieveAETitle", "DeviceSerialNumber", "DeviceUID", "DetectorID", "GantryID",
        "GeneratorID", "PlateID", "CassetteID",
    )
)  # fmt: skip
"""Keywords of identifying elements other than person names."""

FLAGS = frozenset(("BurnedInAnnotation", "RecognizableVisualFeatures"))
"""Keywords of elements that identify if their value is YES: the pixels show a name or a face."""

PSEUDONYMS = frozenset(("PatientName", "PatientID"))
"""Keywords of elements that hold a pseudonym if PatientIdentityRemoved is YES."""

DEFERRED = 4096
"""Values of more bytes are not read from the disk: such a value is no name and no number, but for example pixels."""


def identifying_elements(path: Path, content: bytes | None = None) -> set[str]:
    """Finds the identifying elements of a DICOM file, at any depth of its sequences.

    Parameters
    ----------
    path
        The file, or the archive that holds it.
    content
        The bytes of a file in an archive.

    Returns
    -------
    set
        Keywords, and ``private: CREATOR`` for private elements.

    Raises
    ------
    ValueError
        The file does not decode; the message names the file and quotes no value.
    """
    with without_parser_texts(path, "a DICOM file"):
        source, deferred = (path, DEFERRED) if content is None else (BytesIO(content), None)
        dataset = pydicom.dcmread(source, defer_size=deferred, force=True)  # some archives leave the preamble out
        if not any(keyword_for_tag(tag) for tag in dataset.keys()):
            raise ValueError("no element that DICOM knows")
        found = set(_identifying(dataset))
        removed = str(dataset.get("PatientIdentityRemoved", "")).strip() == "YES"
        pseudonyms = {name for name in PSEUDONYMS & found if removed and not _is_in_sequence(dataset, name)}
    return found - pseudonyms


def _identifying(dataset: Dataset) -> Iterator[str]:
    for tag, element in dataset.items():
        if tag.is_private:
            if not tag.is_private_creator and _is_filled(element):
                yield _private(dataset, tag)
        elif (keyword := keyword_for_tag(tag)) and _vr(element) == "SQ":
            items = list(dataset[tag].value or [])
            yield from (found for item in items for found in _identifying(item))
            if items and keyword in IDENTIFYING:
                yield keyword
        elif keyword in FLAGS:
            if _text(element) == "YES":
                yield keyword
        elif (keyword in IDENTIFYING or _vr(element) == "PN") and _is_filled(element):
            yield keyword or "person name"


def _is_in_sequence(dataset: Dataset, keyword: str) -> bool:
    """Checks whether an element has a value in a sequence, where it may belong to another person."""
    sequences = [tag for tag, element in dataset.items() if not tag.is_private and _vr(element) == "SQ"]
    return any(keyword in _identifying(item) for tag in sequences for item in dataset[tag].value or [])


def _private(dataset: Dataset, tag: BaseTag) -> str:
    creator = dataset.get(BaseTag((tag.group << 16) | (tag.element >> 8)))
    name = "" if creator is None else str(creator.value or "").strip()
    return f"private: {name or f'group {tag.group:04X} without a creator'}"


def _vr(element: DataElement | RawDataElement) -> str:
    if element.VR not in (None, "UN"):
        return str(element.VR)
    try:
        return dictionary_VR(element.tag)
    except KeyError:
        return "UN"


def _is_filled(element: DataElement | RawDataElement) -> bool:
    if isinstance(element, RawDataElement) and element.value is None:
        return element.length > 0  # the value was not read
    value = element.value
    if isinstance(value, bytes):
        return bool(value.strip(b" \0^=\\"))
    return not element.is_empty if isinstance(element, DataElement) else bool(value)


def _text(element: DataElement | RawDataElement) -> str:
    value = element.value
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")
