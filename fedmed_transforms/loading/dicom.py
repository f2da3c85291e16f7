"""Loads a DICOM file or series as a tensor with true values and a true affine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import error_text
from fedmed_transforms.dicom.dicom_file import DicomFile, text_of
from fedmed_transforms.dicom.geometry.grid import Grid, build_grid
from fedmed_transforms.dicom.geometry.stack import has_position
from fedmed_transforms.dicom.pixels.real_world_values import note_real_world_values
from fedmed_transforms.dicom.segmentation import SEGMENTATIONS, read_segments
from fedmed_transforms.dicom.series import DICOM_SUFFIXES, DIRECTORY_NAME, is_archive, is_dicom, read_series
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.silenced_parsers import silenced_parsers
from fedmed_transforms.dicom.slices import Slice, read_slices
from fedmed_transforms.dicom.volumes.choice import choose_volumes
from fedmed_transforms.dicom.volumes.pictures import choose_pictures
from fedmed_transforms.dicom.volumes.reading import read_volumes
from fedmed_transforms.dicom.volumes.stacks import choose_stack, refuse_stacks, stacks_of
from fedmed_transforms.image_metadata import (
    DICOM,
    FULL_SCALE,
    PADDING_REPLACED,
    RESAMPLED,
    SEGMENTS,
    SOURCE_FILES,
    SOURCE_FRAMES,
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
        C = 1 or 3, times the number of volumes where the rule `volume` makes them channels; the metadata that MONAI's
        transforms need, with an affine from voxels to mm, RAS.

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
    keep_differing = rules.duplicates == "drop"
    files = read_series(path, rules.series, (*ELEMENTS, RADIOPHARMACEUTICALS), known, keep_differing)
    if files[0].header.get("SOPClassUID") in SEGMENTATIONS:
        return _load_segmentation(path, files, device)
    slices = [item for file in files for item in read_slices(file)]
    note_real_world_values(slices[0])
    pictures = choose_pictures(slices, rules)
    flat = bool(pictures) or len(slices) == 1 and not has_position(slices[0]) and rules.assume_spacing is None
    volumes = _volumes(slices, pictures, rules)
    values, regular, resampled = read_volumes(volumes, rules, device)
    meta = _metadata(path, values, regular, flat)
    meta[PADDING_REPLACED] = "yes" if rules.padding == "lowest" and _has_padding(files[0].header) else ""
    meta[SOURCE_FRAMES] = _frames(regular.slices, slices)
    return _channel_first(values, flat), {**meta, RESAMPLED: "yes" if resampled else ""}


def _volumes(slices: list[Slice], pictures: list[Slice], rules: SeriesRules) -> list[Grid]:
    """Chooses the volumes to read."""
    if pictures:
        return [build_grid([picture], rules, single=True) for picture in pictures]
    stacks = stacks_of(slices)
    if stacks and rules.volume != "refuse":
        return choose_stack(stacks, rules)
    refuse_stacks(stacks, rules)
    return choose_volumes(build_grid(slices, rules, single=len(slices) == 1), rules)


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
    meta[SOURCE_FRAMES] = ""
    meta[SEGMENTS] = json.dumps(list(zip(segments.numbers, segments.labels, strict=True)))
    return values, _with_elements(meta, files[0].header)  # values (n, X, Y, Z)


def _channel_first(values: torch.Tensor, flat: bool) -> torch.Tensor:
    """Returns a view of the values (volumes, slices, rows, columns[, colours]) with the channels first.

    The colours of several volumes become channels volume by volume, which takes a copy.
    """
    if values.ndim == 5:
        volume = values.permute(0, 4, 3, 2, 1).flatten(0, 1)
    else:
        volume = values.permute(0, 3, 2, 1)
    return volume[..., 0] if flat else volume  # (C, X, Y, Z)


def _frames(used: Sequence[Slice], slices: Sequence[Slice]) -> str:
    """Lists as JSON the numbers of the frames used, from 1, of files of which not all are, by SOPInstanceUID."""
    if len(used) == len(slices):
        return ""
    frames: dict[str, list[int]] = {}
    held = Counter(id(item.file) for item in slices)
    for item in sorted(used, key=lambda item: item.frame):
        if held[id(item.file)] > 1:
            frames.setdefault(text_of(item.file.header, "SOPInstanceUID"), []).append(item.frame + 1)
    whole = {text_of(item.file.header, "SOPInstanceUID"): held[id(item.file)] for item in used}
    parts = {uid: numbers for uid, numbers in frames.items() if len(numbers) < whole[uid]}
    return json.dumps(parts) if parts else ""


def _metadata(path: Path, values: torch.Tensor, grid: Grid, flat: bool) -> dict[str, Any]:
    shape = values.shape[1:4][::-1][: 2 if flat else 3]
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
    return {**meta, FULL_SCALE: 1.0} if values.ndim == 5 else meta


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
