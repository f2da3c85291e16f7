"""Frames whose places are stated once for all of them: in the header, or in the detector of a nuclear image.

The right places are those of SimpleITK where it reads them from the same elements.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
)

from fedmed_transforms import load_image, read_segmentation, write_segmentation
from tests.dicom_validator import errors_in

AXIAL, CORONAL, OBLIQUE = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0.8, 0.6, 0, -0.36, 0.48, -0.8]
FIRST = [-10.0, -20.0, 30.0]
SLICES, RR_INTERVALS, TIME_SLOTS, ANGLES, DETECTORS = 0x00540080, 0x00540060, 0x00540070, 0x00540090, 0x00540020
FRAME_TIME = 0x00181063


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def detector(cosines: list[float], position: list[float] | None = None) -> Dataset:
    return item(ImagePositionPatient=position or FIRST, ImageOrientationPatient=cosines)


def save(path: Path, modality: str, frames: int = 5, **elements: Any) -> Path:
    """An image of frames of 6 rows and 8 columns, 3 mm wide and 2 mm high; frame k holds k + 1."""
    classes = {"NM": NuclearMedicineImageStorage, "CT": CTImageStorage, "MR": EnhancedCTImageStorage}
    dicom = item(SOPClassUID=classes[modality], SOPInstanceUID="1.2.3.4.1", Modality=modality, PatientID="anonymous")
    dicom.StudyInstanceUID, dicom.SeriesInstanceUID, dicom.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.9"
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pixels = np.ones((frames, 6, 8), dtype=np.uint16) * np.arange(1, frames + 1, dtype=np.uint16)[:, None, None]
    dicom.set_pixel_data(pixels, "MONOCHROME2", 16, generate_instance_uid=False)
    dicom.NumberOfFrames, dicom.PixelSpacing, dicom.SliceThickness, dicom.InstanceNumber = frames, [2, 3], 5, 1
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    dicom.save_as(path, enforce_file_format=True)
    return path


def reconstructed(path: Path, spacing: float | None, cosines: list[float], **elements: Any) -> Path:
    """A reconstructed nuclear image: its detector states where the first slice lies."""
    kinds = {"ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"], "FrameIncrementPointer": SLICES}
    place = {"DetectorInformationSequence": [detector(cosines)], "SpacingBetweenSlices": spacing}
    return save(path, "NM", **{**kinds, "SliceVector": [1, 2, 3, 4, 5], **place, **elements})


def cone_beam(path: Path, spacing: float | None, cosines: list[float], **elements: Any) -> Path:
    """A cone beam CT of several frames without functional groups."""
    place = {"ImagePositionPatient": FIRST, "ImageOrientationPatient": cosines}
    spaced = {} if spacing is None else {"SpacingBetweenSlices": spacing}
    return save(path, "CT", **{**place, **spaced, **elements})


def grouped(path: Path, spacing: float | None, cosines: list[float], **elements: Any) -> Path:
    """An enhanced CT whose functional groups state the spacing and leave the place to the header."""
    measures = item(PixelMeasuresSequence=[item(PixelSpacing=[2, 3], SpacingBetweenSlices=spacing)])
    frames = [item(FrameContentSequence=[item(InStackPositionNumber=number)]) for number in range(1, 6)]
    groups = {"SharedFunctionalGroupsSequence": [measures], "PerFrameFunctionalGroupsSequence": frames}
    return cone_beam(path, None, cosines, **{"SOPClassUID": EnhancedCTImageStorage, **groups, **elements})


WRITERS = {"nuclear": reconstructed, "cone beam": cone_beam, "functional groups": grouped}


def frame_at(image: Any, place: np.ndarray) -> float:
    """The value at a place in the patient, mm, LPS."""
    voxel = np.linalg.inv(image.affine.numpy()) @ [*(place * [-1, -1, 1]), 1]
    assert np.abs(voxel - np.rint(voxel)).max() < 1e-6
    return float(image[(0, *np.rint(voxel[:3]).astype(int))])


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("cosines", [AXIAL, CORONAL, OBLIQUE])
@pytest.mark.parametrize("spacing", [4.0, -4.0])
def test_frames_follow_the_first_by_the_sign_of_their_spacing(
    tmp_path: Path, kind: str, cosines: list[float], spacing: float
) -> None:
    path = WRITERS[kind](tmp_path / "f.dcm", spacing, cosines)
    image = load_image(path)
    assert image.shape == (1, 8, 6, 5) and [round(float(side), 6) for side in image.pixdim] == [3, 2, 4]
    normal = np.cross(cosines[:3], cosines[3:])
    for number in range(5):
        assert frame_at(image, FIRST + number * spacing * normal) == number + 1
    if kind != "functional groups":  # SimpleITK reads no position outside of them
        check_like_simpleitk(image, path)


def check_like_simpleitk(image: Any, path: Path) -> None:
    found = SimpleITK.ReadImage(str(path))
    for corner in np.ndindex(2, 2, 2):
        voxel = [int(value) for value in np.array(corner) * (np.array(found.GetSize()) - 1)]
        place = np.array(found.TransformIndexToPhysicalPoint(voxel))
        assert frame_at(image, np.round(place, 9)) == found[voxel]


@pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder")
def test_a_nuclear_image_that_was_refused() -> None:
    image = load_image(Path(os.environ["FEDMED_DATA"]) / "cases" / "nm_spect_forward")
    np.testing.assert_allclose(image.affine, [[-4, 0, 0, 10], [0, -4, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]])
    assert image.shape == (1, 8, 6, 5)


def test_the_vector_of_slices_orders_the_frames(tmp_path: Path) -> None:
    image = load_image(reconstructed(tmp_path / "f.dcm", 4, AXIAL, SliceVector=[3, 1, 5, 2, 4]))
    assert image[0, 0, 0].tolist() == [2, 4, 1, 5, 3]
    np.testing.assert_allclose(image.affine[:3, 3], [10, 20, 30 - 8])  # the first frame is slice 3


@pytest.mark.parametrize("kind", ["cone beam", "functional groups"])
@pytest.mark.parametrize("spacing", [4.0, -4.0])
def test_assumed_positions_keep_the_stated_sign(tmp_path: Path, kind: str, spacing: float) -> None:
    image = load_image(
        WRITERS[kind](tmp_path / "f.dcm", spacing, CORONAL, ImagePositionPatient=None), assume_spacing=(9, 9, 9)
    )
    normal = np.cross(CORONAL[:3], CORONAL[3:])
    assert [frame_at(image, number * spacing * normal) for number in range(5)] == [1, 2, 3, 4, 5]


GATED = {
    "ImageType": ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"],
    "FrameIncrementPointer": [RR_INTERVALS, TIME_SLOTS, SLICES],
    "RRIntervalVector": [1] * 4, "TimeSlotVector": [1, 1, 2, 2], "SliceVector": [1, 2, 1, 2], "frames": 4,
}  # fmt: skip
PROJECTIONS = {
    "ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"], "FrameIncrementPointer": [DETECTORS, ANGLES],
    "AngularViewVector": [1, 2, 3, 4, 5],
}  # fmt: skip
TWO_DETECTORS = {"DetectorInformationSequence": [detector(AXIAL), detector(AXIAL, [0, 0, 0])]}
TIMED = {"FrameIncrementPointer": FRAME_TIME, "FrameTime": 40}
TIMES = [item(FrameContentSequence=[item(TemporalPositionIndex=number)]) for number in range(1, 6)]

REFUSED: dict[str, tuple[Callable[..., Path], float | None, dict[str, Any], str]] = {
    "gated": (reconstructed, 4, GATED, "found 2 (positions with more than one|volumes of 2) slice"),
    "projections": (reconstructed, 4, PROJECTIONS, "no orientation in 5 of 5 images.*; nothing states"),
    "two detectors": (reconstructed, 4, TWO_DETECTORS, "of 2 detectors in different places"),
    "short vector": (reconstructed, 4, {"SliceVector": [1, 2]}, "a SliceVector with 2 values, expected 5"),
    "nuclear without spacing": (reconstructed, None, {}, "found no position in 4 of 5 images; nothing"),
    "in time": (cone_beam, 4, TIMED, "found no position in 4 of 5 images; nothing"),
    "temporal positions": (grouped, 4, {"PerFrameFunctionalGroupsSequence": TIMES}, "in 4 of 5 images; nothing"),
    "without spacing": (cone_beam, None, {}, r"no position in 4 of 5 images; the rule assume_spacing=\(x, y, z\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_frames_of_unknown_places_are_refused(tmp_path: Path, case: str) -> None:
    write, spacing, elements, said = REFUSED[case]
    with pytest.raises(ValueError, match=said):
        load_image(write(tmp_path / "f.dcm", spacing, AXIAL, **elements))


def test_a_single_projection_is_a_picture(tmp_path: Path) -> None:
    path = reconstructed(tmp_path / "f.dcm", 4, AXIAL, **{**PROJECTIONS, "frames": 1, "SliceVector": 1})
    assert load_image(path).shape == (1, 8, 6)


def test_a_dose_grid_keeps_its_offsets(tmp_path: Path) -> None:
    image = load_image(cone_beam(tmp_path / "f.dcm", 9, AXIAL, GridFrameOffsetVector=[0, -2, -4, -6, -8]))
    assert image[0, 0, 0].tolist() == [5, 4, 3, 2, 1] and float(image.affine[2, 2]) == 2


@pytest.mark.parametrize("kind", WRITERS)
def test_a_segmentation_lies_on_its_frames(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / "f.dcm", -4, OBLIQUE)
    image = load_image(path)
    file = write_segmentation(image > 2, path, tmp_path / "seg.dcm", ["lesion"])
    mask, affine, _ = read_segmentation(file)
    assert mask.shape == (1, 8, 6, 3) and bool(mask.all())
    voxels = np.linalg.inv(image.affine.numpy()) @ affine.numpy() @ [[0, 0], [0, 0], [0, 2], [1, 1]]
    assert sorted(np.round(voxels[2], 3).tolist()) == [0, 2]  # frames 3, 4 and 5 lie below the first
    assert errors_in(file, "Segmentation") == []
