"""Writes a DICOM file without identifiers; its pixels stay bit for bit."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedmed_transforms.patients.cleaning.profile import METHODS, SAFE_PRIVATE, Action, action_for
from fedmed_transforms.patients.cleaning.pseudonyms import Pseudonyms, bounded_age
from fedmed_transforms.patients.dicom_identifiers import drop_trailing
from fedmed_transforms.patients.identifying_elements import is_unknown, vr_of
from fedmed_transforms.patients.identifying_keywords import FREE_TEXTS
from fedmed_transforms.patients.names import REMOVED, KnownPatients
from fedmed_transforms.patients.safe_private import is_safe_private

PIXEL_DATA = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

METHOD = "FedMed: PS3.15 basic profile; dates shifted; UIDs replaced"

DUMMIES: dict[str, Any] = {"OB": b"\0\0", "UN": b"\0\0", "AS": "000Y", "UR": "http://removed.invalid"}
EMPTY: dict[str, Any] = {"SQ": [], "OB": b"", "UN": b""}
NUMBERS = ("DS", "FD", "FL", "IS", "SL", "SS", "UL", "US")


class NotCleaned(ValueError):
    """A file that cleaning cannot make safe; the message is the reason and quotes no value."""


def cleaned_dicom(content: bytes, pseudonyms: Pseudonyms, patient: str, known: KnownPatients) -> bytes:
    """Cleans a DICOM file.

    Parameters
    ----------
    content
        The file.
    pseudonyms
        The values of the copy.
    patient
        The patient, for the pseudonym and for the shift of the dates.
    known
        Names and numbers that no text may keep.

    Returns
    -------
    bytes
        The cleaned file, in the same transfer syntax.

    Raises
    ------
    NotCleaned
        The file may hold identifiers that cleaning does not find, such as text in its pixels.
    """
    dataset = pydicom.dcmread(BytesIO(content), force=True)
    refuse(dataset)
    drop_trailing(dataset)
    cleaner = _Cleaner(pseudonyms, patient, known)
    cleaner.clean(dataset)
    _describe(dataset, pseudonyms.patient(patient), cleaner.kept_private)
    _new_file_meta(dataset)
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def refuse(dataset: Dataset) -> None:
    """Refuses what cleaning cannot judge: text in the pixels, documents, and other objects than images."""
    uid = str(dataset.get("SOPClassUID", ""))
    if not any(keyword in dataset for keyword in PIXEL_DATA) and uid != STRUCTURES:
        raise NotCleaned("no image, segmentation or structure set, expected one of them")
    if not uid or not dataset.get("SOPInstanceUID"):
        raise NotCleaned("no SOPClassUID or no SOPInstanceUID, expected both, as every DICOM file states them")
    for keyword in ("BurnedInAnnotation", "RecognizableVisualFeatures", "SpecimenLabelInImage"):
        if str(dataset.get(keyword, "")).strip() == "YES":
            raise NotCleaned(f"{keyword} YES: the pixels identify, and cleaning does not change pixels")
    if uid.startswith(SECONDARY_CAPTURE) and str(dataset.get("BurnedInAnnotation", "")).strip() != "NO":
        raise NotCleaned("a secondary capture, expected BurnedInAnnotation NO, as its pixels often hold text")
    if "MOSAIC" in str(dataset.get("ImageType", "")) or "VFRAME" in str(dataset.get("ImageType", "")):
        raise NotCleaned("a mosaic of slices, which needs private elements; convert it to NIfTI before cleaning")
    overlaid = [tag for tag in dataset.keys() if tag.group & 0xFF00 == 0x6000 and tag.element == 0x0102]
    if any(dataset[tag].value and BaseTag(tag.group << 16 | 0x3000) not in dataset for tag in overlaid):
        raise NotCleaned("an overlay in the bits of the pixels, which may be text")


class _Cleaner:
    """Applies the profile to a data set and to all its sequences."""

    def __init__(self, pseudonyms: Pseudonyms, patient: str, known: KnownPatients) -> None:
        self.pseudonyms, self.patient, self.known = pseudonyms, patient, known
        self.kept_private = False

    def clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            if tag.is_private:
                self._clean_private(dataset, tag)
            elif tag.element == 0 or is_unknown(tag):
                del dataset[tag]
            else:
                self._apply(dataset, tag)

    def _clean_private(self, dataset: Dataset, tag: BaseTag) -> None:
        if tag.is_private_creator:
            block = [it for it in dataset.keys() if it.group == tag.group and it.element >> 8 == tag.element]
            kept = any(is_safe_private(dataset, it) for it in block)
            self.kept_private |= kept
        else:
            kept = is_safe_private(dataset, tag)
        if not kept:
            del dataset[tag]

    def _apply(self, dataset: Dataset, tag: BaseTag) -> None:
        element = dataset.get_item(tag)
        kind = vr_of(element) if element is not None else "UN"
        action = action_for(tag, kind)
        if action is Action.REMOVE:
            del dataset[tag]
        elif action is Action.EMPTY:
            dataset[tag].value = EMPTY.get(kind, None if kind in NUMBERS else "")
        elif action is Action.DUMMY:
            dataset[tag].value = 0 if kind in NUMBERS else DUMMIES.get(kind, REMOVED)
        elif kind == "SQ":
            for item in dataset[tag].value or []:
                self.clean(item)
        elif action is not Action.KEEP:
            self._replace(dataset, tag, kind, action)
        elif tag == BaseTag(0x00101010):
            dataset[tag].value = bounded_age(str(dataset[tag].value or ""))

    def _replace(self, dataset: Dataset, tag: BaseTag, kind: str, action: Action) -> None:
        if action is Action.CLEAN and kind not in FREE_TEXTS:
            return
        element = dataset[tag]
        values = _values(element.value)
        if action is Action.UID:
            new = [it if it.startswith("1.2.840.10008.") else self.pseudonyms.uid(it) for it in values]
        elif action is Action.SHIFT:
            new = [self.pseudonyms.shift(it, self.patient) if it else it for it in values]
        else:
            new = [REMOVED if self.known.kinds_in(it) else it for it in values]
        if new != values:
            element.value = new if len(new) > 1 else new[0] if new else ""


def _values(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    return [str(it) for it in value] if isinstance(value, (list, MultiValue)) else [str(value)]


def _describe(dataset: Dataset, patient: str, kept_private: bool) -> None:
    """States the pseudonym and the method (PS3.15, E.1.1, and PS3.3, C.7.1.1 and C.12.1)."""
    dataset.PatientName = dataset.PatientID = patient
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", METHOD
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    codes = []
    for value, meaning in (*METHODS, *([SAFE_PRIVATE] if kept_private else [])):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    dataset.DeidentificationMethodCodeSequence = codes


def _new_file_meta(dataset: FileDataset) -> None:
    """Writes the file meta anew: the preamble, titles of applications and private information go."""
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if not syntax:
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.preamble = bytes(128)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
