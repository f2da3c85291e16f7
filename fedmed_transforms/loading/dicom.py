"""Loads a DICOM file or series as a tensor with true values and a true affine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import error_text
from fedmed_transforms.dicom.dicom_file import DicomFile, text_of
from fedmed_transforms.dicom.geometry.grid import Grid, build_grid, check_regular, duplicate_positions, select_slices
from fedmed_transforms.dicom.geometry.regrid import make_regular
from fedmed_transforms.dicom.geometry.stack import has_position
from fedmed_transforms.dicom.pixels.voxels import read_voxels
from fedmed_transforms.dicom.segmentation import SEGMENTATIONS, read_segments
from fedmed_transforms.dicom.series import DICOM_SUFFIXES, DIRECTORY_NAME, is_archive, is_dicom, read_series
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.silenced_parsers import silenced_parsers
from fedmed_transforms.dicom.slices import read_slices
from fedmed_transforms.image_metadata import (
    DICOM,
    FULL_SCALE,
    PADDING_REPLACED,
    RESAMPLED,
    SEGMENTS,
    SOURCE_FILES,
    SOURCE_INSTANCES,
    Loaded,
    metadata_of,
)
from fedmed_transforms.loading.refusing_reader import RefusingReader

ELEMENTS = (
    *("SOPClassUID", "Modality", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "Manufacturer"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleType", "SliceThickness", "GantryDetectorTilt"),
    "PhotometricInterpretation",
    *("Units", "CorrectedImage", "DecayCorrection", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime"),
    *("SUVType", "PatientWeight", "PatientSize", "PatientSex"),
)
"""DICOM elements that transforms need; none of them names a patient."""

RADIOPHARMACEUTICALS = "RadiopharmaceuticalInformationSequence"
RADIOPHARMACEUTICAL = (
    *("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime", "RadionuclideTotalDose"),
    "RadionuclideHalfLife",
)
"""DICOM elements that transforms need of the first item of that sequence."""


def load_dicom(
    path: Path, device: torch.device, rules: SeriesRules, files: Sequence[Path] | None = None
) -> Loaded:
    """Loads the values and the metadata of a file, folder, DICOMDIR or zip.

    Parameters
    ----------
    path
        The path to read; error messages name it.
    device
        The device of the values.
    rules
        The rules for a series that is no regular volume.
    files
        The files of one series, if the caller knows them: the loader then reads these files only.

    Returns
    -------
    tuple
        (C, X, Y) for one picture without a position in the patient, (C, X, Y, Z) for everything else, float32,
        C = 1 or 3; the metadata that MONAI's transforms need, with an affine from voxels to mm, RAS.

    Raises
    ------
    ValueError
        The path holds no image or several series, or the series is no regular volume and no rule applies.
    """
    try:
        with silenced_parsers():
            return _load(path, device, rules, files)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except OSError as error:
        found = f"{type(error).__name__}: {error.strerror} ({error.filename})"
        raise ValueError(f"{path}: expected readable files, found {found}") from error
    except Exception as error:  # a damaged file can raise any error of the parsers
        raise ValueError(f"{path}: expected readable DICOM, found {error_text(error)}") from error


def _load(path: Path, device: torch.device, rules: SeriesRules, known: Sequence[Path] | None) -> Loaded:
    files = read_series(path, rules.series, (*ELEMENTS, RADIOPHARMACEUTICALS), known)
    if files[0].header.get("SOPClassUID") in SEGMENTATIONS:
        return _load_segmentation(path, files, device)
    slices = [item for file in files for item in read_slices(file)]
    single = len(slices) == 1 and (files[0].name == str(path) or not has_position(slices[0]))
    grid = build_grid(slices, rules, single)
    flat = single and not has_position(slices[0]) and rules.assume_spacing is None
    grid, values = _read_unique(grid, rules, device)
    values, regular = make_regular(values, grid)
    meta = _metadata(path, values, regular, flat)
    meta[PADDING_REPLACED] = "yes" if rules.padding == "lowest" and _has_padding(files[0].header) else ""
    return _channel_first(values, flat), {**meta, RESAMPLED: "" if regular is grid else "yes"}


def _has_padding(header: Dataset) -> bool:
    return any(f"{prefix}PixelPaddingValue" in header for prefix in ("", "Float", "DoubleFloat"))


def _load_segmentation(path: Path, files: list[DicomFile], device: torch.device) -> Loaded:
    """Loads a DICOM segmentation: one channel for each segment, on its slices from the first to the last.

    The values are 0 and 1, or the fractions in [0, 1] of a fractional segmentation.
    """
    if len(files) > 1:
        raise ValueError(f"{path}: found {len(files)} segmentations in one series, expected one file")
    segments = read_segments(files[0].source, files[0].name)
    values = segments.values.to(device=device, dtype=torch.float32)
    meta = {**metadata_of(path, segments.affine.numpy(), values.shape[1:]), SOURCE_FILES: _paths(files)}
    meta[SEGMENTS] = json.dumps(list(zip(segments.numbers, segments.labels, strict=True)))
    return values, _with_elements(meta, files[0].header)  # values (n, X, Y, Z)


def _read_unique(grid: Grid, rules: SeriesRules, device: torch.device) -> tuple[Grid, torch.Tensor]:
    """Reads the slices that the rules keep; refuses an irregular grid before any pixel is read."""
    same = duplicate_positions(grid)
    if not same:
        check_regular(grid, rules)
        return grid, read_voxels(grid.slices, rules, device)
    names = "; ".join(", ".join(grid.slices[index].name for index in group) for group in same[:5])
    found = f"found {len(same)} positions with more than one slice: {names}"
    if rules.duplicates == "refuse":
        raise ValueError(f"{found}; the rule duplicates='drop' drops those with the same pixels, `series` chooses")
    values = read_voxels(grid.slices, rules, device)
    differing = [group for group in same if any(not values[group[0]].equal(values[other]) for other in group[1:])]
    if differing:
        raise ValueError(
            f"{found}, {len(differing)} of them with different pixels; the rule `series` can choose by elements"
        )
    dropped = {index for group in same for index in group[1:]}
    kept = [index for index in range(len(grid.slices)) if index not in dropped]
    grid = select_slices(grid, kept, rules)
    check_regular(grid, rules)
    return grid, values[kept]


def _channel_first(values: torch.Tensor, flat: bool) -> torch.Tensor:
    """Returns a view of the values with the channels first."""
    volume = values[..., None] if values.ndim == 3 else values  # (slices, rows, columns, C)
    volume = volume.permute(3, 2, 1, 0)  # (C, X, Y, Z)
    return volume[..., 0] if flat else volume


def _metadata(path: Path, values: torch.Tensor, grid: Grid, flat: bool) -> dict[str, Any]:
    shape = values.shape[:3][::-1][: 2 if flat else 3]
    first = grid.slices[0].file.header
    times = [
        (text_of(item.file.header, "AcquisitionDate"), text_of(item.file.header, "AcquisitionTime"))
        for item in grid.slices
    ]
    meta = _with_elements(metadata_of(path, grid.affine, shape), first)
    instances = dict.fromkeys(text_of(item.file.header, "SOPInstanceUID") for item in grid.slices)
    meta[SOURCE_INSTANCES] = "\\".join(instances)
    meta[SOURCE_FILES] = _paths(item.file for item in grid.slices)
    earliest = min((time for time in times if all(time)), default=times[0])
    meta[DICOM].update(zip(("AcquisitionDate", "AcquisitionTime"), earliest, strict=True))
    return {**meta, FULL_SCALE: 1.0} if values.ndim == 4 else meta


def _paths(files: Iterable[DicomFile]) -> str:
    """Returns the paths as JSON; the text is empty for members of a zip."""
    paths = dict.fromkeys(str(file.source) if isinstance(file.source, Path) else "" for file in files)
    return "" if "" in paths else json.dumps(list(paths))


def _with_elements(meta: dict[str, Any], header: Dataset) -> dict[str, Any]:
    sequence = header.get(RADIOPHARMACEUTICALS)
    agent = sequence[0] if sequence else Dataset()
    elements = {keyword: text_of(header, keyword) for keyword in ELEMENTS}
    return {**meta, DICOM: {**elements, **{keyword: text_of(agent, keyword) for keyword in RADIOPHARMACEUTICAL}}}


class DicomReader(RefusingReader):
    """Reads DICOM for MONAI's ``LoadImage(reader="fedmed_transforms.DicomReader")``.

    Parameters
    ----------
    device
        The device of the values.
    **rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Examples
    --------
    >>> from monai.transforms import LoadImage
    >>> from pydicom.data import get_testdata_file
    >>> LoadImage("fedmed_transforms.DicomReader", image_only=True)(get_testdata_file("CT_small.dcm")).shape
    torch.Size([1, 128, 128, 1])
    """

    def __init__(self, device: str | torch.device = "cpu", **rules: Any) -> None:
        super().__init__(device)
        self.rules = SeriesRules.of(rules)

    def reads(self, path: Path) -> bool:
        """Checks whether a path is a folder, a zip, a DICOMDIR, or a file with DICOM's suffix or content."""
        return is_dicom_path(path)

    def load(self, path: Path) -> Loaded:
        """Loads the values (C, X, Y[, Z]) and the metadata of a path."""
        return load_dicom(path, self.device, self.rules)


def is_dicom_path(path: Path) -> bool:
    """Checks whether a path is read as DICOM: a folder, or a file with DICOM's name or magic bytes."""
    if path.is_dir() or is_archive(path) or path.name.upper() == DIRECTORY_NAME:
        return True
    return path.name.lower().endswith(DICOM_SUFFIXES) or (path.is_file() and is_dicom(path))
