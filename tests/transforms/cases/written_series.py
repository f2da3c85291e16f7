"""Writes DICOM series and multi-frame files of several volumes, each volume with values of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

ROWS, COLUMNS = 6, 5


def elements(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def picture(volume: int, position: int) -> np.ndarray:
    """(rows, columns), uint16: 100 times the volume, 10 times the position, and a corner that no turn keeps."""
    pixels = np.full((ROWS, COLUMNS), 100 * volume + 10 * position, dtype=np.uint16)
    pixels[0, 1] += 1
    return pixels


def write_slice(
    path: Path,
    pixels: np.ndarray,
    position: Sequence[float] | None,
    number: int,
    private: Mapping[Any, Any],
    **values: Any,
) -> None:
    """Writes a slice; `private` holds a representation and a value by group, creator and last byte of the tag."""
    dicom = elements(SOPClassUID=MRImageStorage, SOPInstanceUID=generate_uid(entropy_srcs=[str(path)]), Modality="MR")
    dicom.update(elements(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", FrameOfReferenceUID="1.2.3.5"))
    dicom.update(elements(PatientID="anonymous", InstanceNumber=number, PixelSpacing=[2.0, 1.5], SliceThickness=3.0))
    if position is not None:
        dicom.update(elements(ImagePositionPatient=list(position), ImageOrientationPatient=[1.0, 0, 0, 0, 1, 0]))
    kind = "RGB" if pixels.dtype == np.uint8 else "MONOCHROME2"
    dicom.set_pixel_data(pixels, kind, 8 * pixels.dtype.itemsize, generate_instance_uid=False)
    dicom.update(elements(**values))
    for (group, creator, byte), (representation, value) in private.items():
        dicom.private_block(group, creator, create=True).add_new(byte, representation, value)
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dicom.save_as(path, enforce_file_format=True)


def write_series(
    folder: Path,
    volumes: Sequence[Mapping[str, Any]],
    positions: int = 3,
    left_out: Sequence[tuple[int, int]] = (),
    slice_first: bool = False,
) -> Path:
    """Writes a series of volumes, in files whose names are in no order.

    The elements of a volume may be functions of the position, and may hold ``private`` elements. Left out are slices of
    volume and position. InstanceNumbers count positions inside volumes, or volumes inside positions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for volume, given in enumerate(volumes):
        for position in range(positions):
            if (volume, position) in left_out:
                continue
            number = position * len(volumes) + volume if slice_first else volume * positions + position
            values = {key: value(position) if callable(value) else value for key, value in given.items()}
            private = values.pop("private", {})
            name = f"{(number * 7) % 11:02d}-{number}.dcm"
            place = (1.0, 2.0, 3.0 * position)
            write_slice(folder / name, picture(volume, position), place, number + 1, private, **values)
    return folder


AXIAL = (1.0, 0, 0, 0, 1, 0)


def write_enhanced(
    path: Path, frames: Sequence[tuple[int, int, Dataset]], cosines: Sequence[float] = AXIAL, **values: Any
) -> Path:
    """Writes an enhanced multi-frame file; each frame has a volume, a position and functional groups of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    groups = []
    for _, position, group in frames:
        if "PlanePositionSequence" not in group:
            group.PlanePositionSequence = [elements(ImagePositionPatient=[1.0, 2.0, 3.0 * position])]
        groups.append(group)
    shared = elements(
        PlaneOrientationSequence=[elements(ImageOrientationPatient=list(cosines))],
        PixelMeasuresSequence=[elements(PixelSpacing=[2.0, 1.5], SliceThickness=3.0)],
    )
    pixels = np.stack([picture(volume, position) for volume, position, _ in frames])
    several = {"NumberOfFrames": len(frames), "SOPClassUID": EnhancedMRImageStorage}
    several |= {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups}
    write_slice(path, pixels, None, values.pop("InstanceNumber", 1), {}, **several, **values)
    return path


def expected(volume: int, positions: int = 3) -> np.ndarray:
    """The volume's values, (X, Y, Z)."""
    return np.stack([picture(volume, position).T for position in range(positions)], axis=2).astype(np.float32)


CT = {"SOPClassUID": CTImageStorage, "Modality": "CT"}
