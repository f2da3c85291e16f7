"""A cleaned copy of DICOM files: no identifier, the same pixels and places, the same intervals, the same references."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from fedmed_transforms import Segment, clean_folder, load_image, write_segmentation
from fedmed_transforms.patients.identifiers import find_identifiers
from tests.dicom_validator import errors_in, errors_without_values

KEY = b"a secret of 16 bytes"
PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "MRN-4711", "PatientBirthDate": "19700101"}
SECRETS = (b"Doe", b"Jane", b"4711", b"Elsewhere", b"19700101", b"1.2.3.4")

Save = Callable[..., Path]


def cleaned(source: Path, key: bytes | None = KEY) -> Path:
    target = source.with_name("cleaned")
    assert clean_folder(source, target, key) == []
    assert find_identifiers(target) == []
    return target


def test_a_series_keeps_values_and_places_and_loses_names(tmp_path: Path, save_series: Save) -> None:
    source = save_series(tmp_path / "source" / "hospital", "oblique", InstitutionName="St. Elsewhere", StudyID="7",
                         SeriesDescription="Jane Doe", StudyDate="20240229", **PATIENT).parent  # fmt: skip
    before = {file: file.read_bytes() for file in source.rglob("*.dcm")}
    target = cleaned(source)
    ours, theirs = (load_image(folder / "hospital") for folder in (source, target))
    assert torch.equal(ours.as_tensor(), theirs.as_tensor()) and torch.equal(ours.affine, theirs.affine)
    assert {file: file.read_bytes() for file in source.rglob("*") if file.is_file()} == before
    contents = [file.read_bytes() for file in target.rglob("*.dcm")]
    assert len(contents) == 5 and not any(secret in content for secret in SECRETS for content in contents)


def test_what_a_file_states(tmp_path: Path, save_dicom: Save) -> None:
    (tmp_path / "source").mkdir()
    save_dicom(tmp_path / "source" / "a.dcm", PIXELS, **PATIENT, PatientAge="095Y", PatientSex="F", PatientWeight=61.5,
               StudyTime="101112", Manufacturer="ACME", StudyInstanceUID="1.2.3.4")  # fmt: skip
    dicom = pydicom.dcmread(cleaned(tmp_path / "source") / "a.dcm")
    assert dicom.PatientIdentityRemoved == "YES" and dicom.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [(item.CodeValue, item.CodingSchemeDesignator) for item in dicom.DeidentificationMethodCodeSequence]
    assert codes == [(code, "DCM") for code in ("113100", "113105", "113107", "113108")]
    assert (dicom.PatientAge, dicom.PatientSex, dicom.PatientWeight) == ("090Y", "F", 61.5)
    assert dicom.PatientBirthDate == "" and dicom.Manufacturer == "ACME" and dicom.StudyTime == "101112"
    assert dicom.PatientName == dicom.PatientID and str(dicom.PatientID).startswith("P")
    assert dicom.SOPInstanceUID.startswith("2.25.")
    assert dicom.file_meta.MediaStorageSOPInstanceUID == dicom.SOPInstanceUID
    assert dicom.SOPClassUID.startswith("1.2.840.10008.")


def test_dates_keep_their_intervals_for_each_patient(tmp_path: Path, save_dicom: Save) -> None:
    (tmp_path / "source").mkdir()
    for name, patient, day in (("a", "p-1", "20240110"), ("b", "p-1", "20240301"), ("c", "p-2", "20240110")):
        injected = Dataset()
        injected.RadiopharmaceuticalStartDateTime = f"{day}093000.000000"
        save_dicom(tmp_path / "source" / name, PIXELS, PatientID=patient, StudyDate=day,
                   AcquisitionDateTime=f"{day}1011", RadiopharmaceuticalInformationSequence=[injected])  # fmt: skip
    target = cleaned(tmp_path / "source")
    first, second, other = (pydicom.dcmread(target / name) for name in "abc")
    days = [date(int(it.StudyDate[:4]), int(it.StudyDate[4:6]), int(it.StudyDate[6:])) for it in (first, second, other)]
    assert (days[1] - days[0]).days == 51 and days[0] != days[2] and max(days) < date(2023, 3, 2)
    for dicom in (first, second, other):
        injected = dicom.RadiopharmaceuticalInformationSequence[0]
        assert str(injected.RadiopharmaceuticalStartDateTime) == f"{dicom.StudyDate}093000.000000"
        assert str(dicom.AcquisitionDateTime) == f"{dicom.StudyDate}1011"


def test_segmentations_still_refer_to_their_images(tmp_path: Path, save_series: Save) -> None:
    source = save_series(tmp_path / "source" / "images").parent
    image = load_image(source / "images")
    mask = torch.zeros_like(image)
    mask[0, 1:3, 2:5, 1:4] = 1
    (source / "labels").mkdir()
    write_segmentation(mask, source / "images", source / "labels" / "a.dcm", [Segment("Organ")])
    target = cleaned(source)
    ours, theirs = (load_image(folder / "labels" / "a.dcm") for folder in (source, target))
    assert torch.equal(ours.as_tensor(), theirs.as_tensor()) and torch.equal(ours.affine, theirs.affine)
    segmentation = pydicom.dcmread(target / "labels" / "a.dcm")
    images = {pydicom.dcmread(file).SOPInstanceUID for file in (target / "images").iterdir()}
    items = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in items} <= images
    assert segmentation.SegmentSequence[0].SegmentLabel == "Organ"
    one = pydicom.dcmread(next((target / "images").iterdir()))
    assert segmentation.FrameOfReferenceUID == one.FrameOfReferenceUID and segmentation.PatientID == one.PatientID
    assert errors_in(target / "labels" / "a.dcm", "Segmentation") == []


def test_the_key_decides_and_is_not_kept(tmp_path: Path, save_series: Save) -> None:
    source = save_series(tmp_path / "source" / "a").parent
    uids = []
    for number, key in enumerate((KEY, KEY, b"another key of 16", None, None)):
        clean_folder(source, tmp_path / str(number), key)
        uids.append(pydicom.dcmread(tmp_path / str(number) / "a" / "a.dcm").SOPInstanceUID)
        assert not any(KEY in file.read_bytes() for file in (tmp_path / str(number)).rglob("*.dcm"))
    assert uids[0] == uids[1] and len(set(uids)) == 4


NESTED = Dataset()
NESTED.PatientID, NESTED.ReferencedSOPInstanceUID, NESTED.PersonName = "MRN-4711", "1.2.3.4", "Doe^Jane"


@pytest.mark.parametrize(
    ("elements", "more"),
    [
        ({"StudyID": "7", "ClinicalTrialSubjectID": "7", "AccessionNumber": "7", "ContainerIdentifier": "7"}, None),
        ({"ImageComments": "Jane", "OperatorsName": "Roe^Jo", "DeviceSerialNumber": "7", "StationName": "CT1"}, None),
        ({"SourceImageSequence": [NESTED], "ReferencedImageSequence": [NESTED], "IconImageSequence": [NESTED]}, None),
        ({"RequestAttributesSequence": [NESTED], "OriginalAttributesSequence": [NESTED]}, None),
        ({"KVP": 120}, lambda it: it.private_block(9, "ACME", create=True).add_new(1, "LO", "Jane")),
        ({}, lambda it: it.add_new(0x60003000, "OW", bytes(2)) or it.add_new(0x60000022, "LO", "Jane")),
        ({}, lambda it: it.add_new(0x50002500, "LO", "Jane")),
        ({}, lambda it: it.add_new(0xFFFCFFFC, "OB", b"Jane")),
        ({}, lambda it: setattr(it.file_meta, "SourceApplicationEntityTitle", "CT1")),
        ({}, lambda it: setattr(it, "preamble", b"Jane".ljust(128))),
        ({}, lambda it: it.compress(RLELossless)),
    ],
)  # fmt: skip
def test_every_kind_goes_and_the_pixels_stay(
    tmp_path: Path, save_dicom: Save, elements: dict[str, Any], more: Callable[[Any], Any] | None
) -> None:
    (tmp_path / "source").mkdir()
    path = save_dicom(tmp_path / "source" / "a.dcm", PIXELS, **PATIENT, **elements)
    dicom = pydicom.dcmread(path)
    if more:
        more(dicom)
    dicom.save_as(path)
    copy = cleaned(tmp_path / "source") / "a.dcm"
    assert pydicom.dcmread(copy).PixelData == pydicom.dcmread(path).PixelData
    assert not any(secret in copy.read_bytes() for secret in SECRETS)
    assert torch.equal(load_image(copy).as_tensor(), load_image(path).as_tensor())


def test_bytes_after_the_pixels_go(tmp_path: Path, save_dicom: Save) -> None:
    (tmp_path / "source").mkdir()
    path = save_dicom(tmp_path / "source" / "a.dcm", PIXELS)
    for more in (b"Jane", b"Jane Doe, born in 1970, of St. Elsewhere"):
        path.write_bytes(save_dicom(path, PIXELS).read_bytes() + more)
        clean_folder(tmp_path / "source", tmp_path / more[-4:].decode())
        assert b"Jane" not in (tmp_path / more[-4:].decode() / "a.dcm").read_bytes()


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation YES: the pixels identify"),
        ({"RecognizableVisualFeatures": "YES"}, "RecognizableVisualFeatures YES"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "a secondary capture, expected BurnedInAnnotation NO"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a mosaic of slices, which needs private elements"),
        ({"OverlayBitPosition": 8}, "an overlay in the bits of the pixels"),
        ({"SOPInstanceUID": ""}, "no SOPClassUID or no SOPInstanceUID"),
        ({"PixelData": None}, "no image, segmentation or structure set"),
    ],
)  # fmt: skip
def test_what_cleaning_cannot_judge_is_left_out_and_listed(
    tmp_path: Path, save_dicom: Save, elements: dict[str, Any], reason: str
) -> None:
    (tmp_path / "source").mkdir()
    dicom = pydicom.dcmread(save_dicom(tmp_path / "source" / "a.dcm", PIXELS))
    for keyword, value in elements.items():
        if keyword == "OverlayBitPosition":
            dicom.add_new(0x60000102, "US", value)
        elif value is None:
            delattr(dicom, keyword)
        else:
            setattr(dicom, keyword, value)
    dicom.save_as(tmp_path / "source" / "a.dcm")
    (left,) = clean_folder(tmp_path / "source", tmp_path / "cleaned")
    assert left.name == "a.dcm" and left.reason.startswith(reason)
    assert not any(path.is_file() for path in (tmp_path / "cleaned").rglob("*"))


def test_a_secondary_capture_that_states_that_nothing_is_burnt_in(tmp_path: Path, save_dicom: Save) -> None:
    (tmp_path / "source").mkdir()
    save_dicom(tmp_path / "source" / "a", PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", BurnedInAnnotation="NO")
    cleaned(tmp_path / "source")


def test_zips_and_names_of_files(tmp_path: Path, save_series: Save) -> None:
    series = save_series(tmp_path / "series", **PATIENT)
    source = tmp_path / "source"
    (source / "Doe_Jane").mkdir(parents=True)
    with zipfile.ZipFile(source / "Doe_Jane" / "mrn-4711.zip", "w") as archive:
        archive.comment = b"of Jane Doe"
        for file in sorted(series.iterdir()):
            archive.write(file, f"JANE/{file.name}")
    copy = next(path for path in cleaned(source).rglob("*.zip"))
    assert torch.equal(load_image(copy).as_tensor(), load_image(series).as_tensor())
    assert not any(word in str(copy.relative_to(tmp_path)).casefold() for word in ("doe", "jane", "4711"))
    with zipfile.ZipFile(copy) as archive:
        assert archive.comment == b"" and not any("jane" in name.casefold() for name in archive.namelist())
    patient = pydicom.dcmread(next(cleaned_members(copy))).PatientID
    assert copy.stem == patient


def cleaned_members(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        yield from (archive.open(name) for name in archive.namelist())


@pytest.mark.parametrize("name", [
    "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "rtdose.dcm",
    "rtstruct.dcm", "examples_overlay.dcm", "MR_small_jpeg_ls_lossless.dcm", "693_J2KI.dcm",
])  # fmt: skip
def test_no_new_error_of_the_validator(tmp_path: Path, name: str) -> None:
    path = Path(str(get_testdata_file(name, download=False)))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.dcm").write_bytes(path.read_bytes())
    copy = cleaned(tmp_path / "source") / "a.dcm"
    assert errors_without_values(copy) <= errors_without_values(path)
    if name != "rtstruct.dcm":
        ours, theirs = load_image(path), load_image(copy)
        assert torch.equal(ours.as_tensor(), theirs.as_tensor()) and torch.equal(ours.affine, theirs.affine)
