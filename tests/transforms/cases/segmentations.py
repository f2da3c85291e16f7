"""Writes segmentations of every type with highdicom, on the CT series of the structure sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import torch
from pydicom.sr.codedict import codes

from fedmed_transforms import LoadMedicalImaged, MatchedLabeld, SegmentationToLabelsd
from tests.transforms.cases.structure_sets import SHAPE

MASKS = (SHAPE[2], SHAPE[1], SHAPE[0])
"""Shape (slices, rows, columns) of the masks."""


def source_images(series: Path) -> list[pydicom.Dataset]:
    """The slices of a series with the elements that highdicom copies."""
    images = [pydicom.dcmread(file) for file in sorted(series.iterdir())]
    for image in images:
        for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime"):
            setattr(image, keyword, "")
        image.StudyID = "1"
    return images


def describe(number: int, label: str = "") -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label or f"segment {number}",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )


def write_segments(
    path: Path, sources: Sequence[pydicom.Dataset], pixels: Any, kind: str, numbers: Sequence[int], **options: Any
) -> Path:
    """Writes (slices, rows, columns) or (slices, rows, columns, segments) as a segmentation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hd.seg.Segmentation(
        source_images=sources, pixel_array=pixels, segmentation_type=kind,
        segment_descriptions=[describe(number) for number in numbers], series_instance_uid="1.2.3.6", series_number=6,
        sop_instance_uid="1.2.3.6.1", instance_number=1, manufacturer="m", manufacturer_model_name="n",
        software_versions="1", device_serial_number="1", **options,
    ).save_as(path)  # fmt: skip
    return path


def by_highdicom(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a segmentation with highdicom: (n, X, Y, Z), and its affine from voxels to mm, RAS.

    A label map is read as numbers: highdicom 0.28 cuts numbers of 16 bits to 8 where it separates the segments.
    """
    segmentation = hd.seg.segread(path)
    combine = segmentation.segmentation_type == hd.seg.SegmentationTypeValues.LABELMAP
    volume = segmentation.get_volume(combine_segments=combine, allow_missing_positions=True)
    numbers = [number for number in segmentation.segment_numbers if number]
    found = np.stack([volume.array == number for number in numbers], axis=-1) if combine else volume.array
    return found.transpose(3, 2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine[:, [2, 1, 0, 3]]


STEPS = (
    LoadMedicalImaged(["image", "label"]), SegmentationToLabelsd("label", image_key="image"),
    MatchedLabeld("label", image_key="image"),
)  # fmt: skip


def labelled(image: Path, label: Path) -> dict[Any, Any]:
    """Loads an image and its label as a bundle does."""
    data: dict[Any, Any] = {"image": str(image), "label": str(label)}
    for step in STEPS:
        data = step(data)
    return data


def labels(image: Path, label: Path) -> torch.Tensor:
    found: torch.Tensor = labelled(image, label)["label"]
    return found


def drawn(numbers: tuple[int, ...], overlapping: bool = False) -> np.ndarray:
    """Boxes in slices 1 to 4, one a segment, (slices, rows, columns, segments)."""
    masks = np.zeros((*MASKS, len(numbers)), dtype=np.uint8)
    for place in range(len(numbers)):
        begin = 5 + (6 if overlapping else 20) * place
        masks[1 + place % 2 : 4 + place % 2, 10 : 30 + place, begin : begin + 12, place] = 1
    return masks
