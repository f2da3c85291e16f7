"""DICOM segmentations lie where the mask lies in the patient, and refer to the images that lie there."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation, Spacing

from fedmed_transforms import LoadMedicalImaged
from fedmed_transforms.dicom.segmentation import read_segmentation
from fedmed_transforms.results.dicom_result import Algorithm
from fedmed_transforms.results.segmentation_object import Segment, write_segmentation

PLANES = ("axial", "sagittal", "coronal", "oblique")
VOXEL = (4, 7, 3)

LARGER = ((0, 0, 0, 0, 0, 1), (0, 0, 0, 1), (0, 1), (1, 0))
"""Paddings of a mask by a column, a row, and a slice at either end."""


def loaded(path: Path) -> MetaTensor:
    return LoadMedicalImaged("image")({"image": str(path)})["image"]


def marked(image: MetaTensor, *voxels: tuple[int, ...]) -> MetaTensor:
    """A mask of an image with one channel a marked voxel."""
    mask = torch.zeros(len(voxels), *image.shape[1:], dtype=torch.uint8)
    for channel, voxel in enumerate(voxels):
        mask[channel][voxel] = 1
    return MetaTensor(mask, affine=image.affine)


def place_of(mask: MetaTensor) -> Any:
    """LPS of the only marked voxel of a mask's first channel."""
    voxel = torch.nonzero(mask.as_tensor()[0])
    assert len(voxel) == 1
    return (np.asarray(mask.affine) @ [*voxel[0].tolist(), 1.0])[:3] * (-1, -1, 1)


def places_in_file(path: Path) -> list[tuple[int, Any, str]]:
    """Segment, LPS and source of every marked pixel, by the elements of the file alone."""
    dicom = pydicom.dcmread(path)
    shared = dicom.SharedFunctionalGroupsSequence[0]
    along = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    height, width = (float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing)
    frames = dicom.pixel_array.reshape(-1, dicom.Rows, dicom.Columns)
    found = []
    for pixels, group in zip(frames, dicom.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        segment = (group if "SegmentIdentificationSequence" in group else shared).SegmentIdentificationSequence[0]
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for row, column in np.argwhere(pixels):
            place = corner + column * width * along[0] + row * height * along[1]
            found.append((segment.ReferencedSegmentNumber, place, source))
    return found


def source_at(folder: Path, place: Any) -> str:
    """The image of a series whose plane holds a place."""
    headers = [pydicom.dcmread(path) for path in folder.iterdir()]
    normal = np.cross(*np.array(headers[0].ImageOrientationPatient, dtype=float).reshape(2, 3))
    apart = [abs(normal @ (np.array(header.ImagePositionPatient, dtype=float) - place)) for header in headers]
    assert min(apart) < 1e-3
    return str(headers[int(np.argmin(apart))].SOPInstanceUID)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("codes", [None, "RAS", "PIL", "SLA"])
def test_a_voxel_stays_at_its_place(
    tmp_path: Path, save_series: Callable[..., Path], plane: str, codes: str | None
) -> None:
    """Whatever the plane, and in whatever order and direction the mask's axes are."""
    mask = marked(loaded(save_series(tmp_path / "series", plane)), VOXEL)
    expected = place_of(mask)
    if codes:
        mask = Orientation(axcodes=codes, labels=None)(mask)
        np.testing.assert_allclose(place_of(mask), expected, atol=1e-3)
    path = write_segmentation(mask, tmp_path / "series", tmp_path / "out" / "seg.dcm", ["lesion"])
    ((segment, place, source),) = places_in_file(path)
    np.testing.assert_allclose(place, expected, atol=1e-3)
    assert segment == 1 and source == source_at(tmp_path / "series", expected)
    read, affine, labels = read_segmentation(path)
    np.testing.assert_allclose(place_of(MetaTensor(read, affine=affine)), expected, atol=1e-3)
    assert labels == ["lesion"] and [file.name for file in (tmp_path / "out").iterdir()] == ["seg.dcm"]


def test_every_image_of_the_series_is_referred_to(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "series")
    path = write_segmentation(marked(loaded(series), VOXEL), series, tmp_path / "seg.dcm", ["lesion"])
    expected = {str(pydicom.dcmread(file).SOPInstanceUID) for file in series.iterdir()}
    by_highdicom = hd.seg.segread(path)
    assert {str(uid) for _, _, uid in by_highdicom.get_source_image_uids()} == expected and len(expected) == 5
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert by_highdicom[keyword].value == pydicom.dcmread(series / "a.dcm")[keyword].value


def test_overlapping_segments_and_what_they_are(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "series", "coronal")
    mask = marked(loaded(series), VOXEL, (0, 0, 0))
    mask[1][VOXEL] = 1
    tumour = Segment(
        "Tümör", ("49755003", "SCT", "Morphologically abnormal structure"), ("108369006", "SCT", "Neoplasm")
    )
    path = write_segmentation(mask, series, tmp_path / "seg.dcm", ["organ", tumour], Algorithm("unet", "2.1"))
    assert sorted(segment for segment, _, _ in places_in_file(path)) == [1, 2, 2]
    by_highdicom = hd.seg.segread(path)
    described = by_highdicom.get_segment_description(2)
    shown = [tuple(by_highdicom.get_segment_description(number).RecommendedDisplayCIELabValue) for number in (1, 2)]
    assert [hd.color.CIELabColor.from_dicom_value(color).to_rgb() for color in shown] == [(86, 180, 233), (213, 94, 0)]
    assert (described.segment_label, described.segmented_property_type.meaning) == ("Tümör", "Neoplasm")
    assert by_highdicom.get_segment_description(1).segmented_property_type.value == "85756007"
    algorithm = described.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("unet", "2.1")
    assert (by_highdicom.Manufacturer, by_highdicom.Modality) == ("FedMed", "SEG")
    read, affine, labels = read_segmentation(path)
    assert labels == ["organ", "Tümör"] and int(read[0].sum()) == 1 and int(read[1].sum()) == 2


@pytest.mark.parametrize("plane", PLANES)
def test_one_image_of_a_series(tmp_path: Path, save_series: Callable[..., Path], plane: str) -> None:
    file = save_series(tmp_path / "series", plane) / "c.dcm"
    header = pydicom.dcmread(file)
    path = write_segmentation(marked(loaded(file), VOXEL[:2]), file, tmp_path / "seg.dcm", ["lesion"])
    ((_, place, source),) = places_in_file(path)
    along = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    expected = np.array(header.ImagePositionPatient, dtype=float) + 4 * 2.0 * along[0] + 7 * 1.5 * along[1]
    np.testing.assert_allclose(place, expected, atol=1e-3)
    assert source == header.SOPInstanceUID
    assert pydicom.dcmread(path).SeriesDescription == f"FedMed {version('fedmed')}"


def test_datasets_and_a_tensor_with_an_affine(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "series")
    mask = marked(loaded(series), VOXEL)
    datasets = [pydicom.dcmread(file) for file in sorted(series.iterdir())]
    before = [dataset.to_json() for dataset in datasets]
    path = write_segmentation(mask.as_tensor() > 0, datasets, tmp_path / "seg.dcm", ["lesion"], affine=mask.affine)
    np.testing.assert_allclose(places_in_file(path)[0][1], place_of(mask), atol=1e-3)
    assert [dataset.to_json() for dataset in datasets] == before
    with pytest.raises(ValueError, match="expected a mask with an affine"):
        write_segmentation(mask.as_tensor(), datasets, tmp_path / "other.dcm", ["lesion"])


def test_an_empty_mask_is_written(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "series")
    path = write_segmentation(marked(loaded(series), VOXEL) * 0, series, tmp_path / "seg.dcm", ["lesion"])
    read, _, _ = read_segmentation(path)
    assert read.shape == (1, 6, 9, 5) and not read.any()


def test_a_wrong_distance_of_slices_in_the_headers_changes_nothing(
    tmp_path: Path, save_series: Callable[..., Path]
) -> None:
    series = save_series(tmp_path / "series", SpacingBetweenSlices=1.0, SliceThickness=7.0)
    mask = marked(loaded(series), (1, 2, 0))
    mask[0, 3, 4, 4] = 1
    read, affine, _ = read_segmentation(write_segmentation(mask, series, tmp_path / "seg.dcm", ["lesion"]))
    assert read.shape == (1, 6, 9, 5)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, 2]), 3.5, rtol=1e-5)


def moved(mask: MetaTensor, millimetres: float) -> MetaTensor:
    affine = mask.affine.clone()
    affine[:3, 3] += torch.tensor([0.0, millimetres, 0.0])
    return MetaTensor(mask.as_tensor(), affine=affine)


def test_grids_that_do_not_coincide_are_refused_with_distances(
    tmp_path: Path, save_series: Callable[..., Path]
) -> None:
    series = save_series(tmp_path / "series")
    mask, output = marked(loaded(series), VOXEL), tmp_path / "out" / "seg.dcm"
    shifted = r"a\.dcm: mask of 6 x 9 x 5 voxels at 2 x 1.5 x 3.5 mm: .* within 0.15 mm; 5 slices .* lies 0.6 mm"
    with pytest.raises(ValueError, match=shifted):
        write_segmentation(moved(mask, 0.6), series, output, ["lesion"])
    larger = [MetaTensor(torch.nn.functional.pad(mask.as_tensor(), pad), affine=mask.affine) for pad in LARGER]
    for other in (Spacing((1.0, 1.5, 3.5))(mask) * 0, mask[:, 1:], mask[..., :-1], mask[..., :1], *larger):
        with pytest.raises(ValueError, match="expected the grid of the image, 5 slices of 6 x 9 pixels"):
            write_segmentation(other, series, output, ["lesion"])
    with pytest.raises(ValueError, match="expected the grid of the image, 4 slices of"):
        write_segmentation(mask, [file for file in series.iterdir() if file.name != "a.dcm"], output, ["lesion"])
    assert not output.parent.exists()
    write_segmentation(moved(mask, 0.1), series, output, ["lesion"])
