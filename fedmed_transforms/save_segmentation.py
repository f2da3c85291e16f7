"""A prediction's masks to files beside which a clinic finds the image: DICOM of DICOM, NIfTI of anything else."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from pydicom.dataset import Dataset

from fedmed_transforms.dicom import is_dicom_path
from fedmed_transforms.dicom_result import Algorithm
from fedmed_transforms.image_metadata import SOURCE_INSTANCES, dicom_of
from fedmed_transforms.mask_file import write_mask
from fedmed_transforms.segmentation_object import Segment, write_segmentation
from fedmed_transforms.series import read_series

SUFFIXES = (".nii.gz", ".nii", ".dcm", ".dicom", ".ima", ".jpg", ".jpeg", ".png", ".bmp")
"""Endings that are no part of an image's name."""


class SaveSegmentationd(MapTransform):
    """Writes masks: a DICOM file's or series' as DICOM segmentation, other images' as NIfTI.

    The file is ``<name>_seg.dcm`` or ``<name>_seg.nii.gz`` in the output folder; the name is that of the image's file
    or, of a series, of its folder.

    Parameters
    ----------
    keys
        Entries of the data that hold masks: MetaTensor (n, X, Y, Z) or (n, X, Y), 0 and 1, a channel a segment,
        without background, in the geometry of the image. Their ``meta["filename_or_obj"]`` is the image's path.
    output_dir
        Folder of the files.
    segments
        Of each channel: a label, or what :class:`fedmed_transforms.segmentation_object.Segment` takes.
    algorithm
        Name and version of what made the masks.

    Raises
    ------
    ValueError
        A mask names no source, is not binary or not on its source's grid, or two images have one name; the message
        names the image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        segments: Sequence[str | Segment | Mapping[str, Any]],
        algorithm: Mapping[str, str] | Algorithm | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.segments = [_segment(segment) for segment in segments]
        self.algorithm = algorithm if isinstance(algorithm, Algorithm) else Algorithm(**(algorithm or {}))
        self._written: dict[Path, str] = {}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Writes every key's mask; the data stay as they are."""
        for key in self.key_iterator(data):
            self._save(data[key], str(key))
        return dict(data)

    def _save(self, mask: Any, key: str) -> None:
        source = mask.meta.get("filename_or_obj") if isinstance(mask, MetaTensor) else None
        if not source or not Path(source).exists():
            raise ValueError(f"{key}: expected a MetaTensor whose meta names an image's file, found {source!r}")
        dicom = is_dicom_path(Path(source))
        output = self.output_dir / f"{_name(Path(source))}_seg{'.dcm' if dicom else '.nii.gz'}"
        if self._written.setdefault(output, str(source)) != str(source):
            raise ValueError(f"{source}: its result {output} is that of {self._written[output]}, expected another name")
        try:
            self._write(mask, Path(source), output, dicom)
        except OSError as error:
            raise ValueError(f"{source}: its result {output} can't be written: {error.strerror}") from error

    def _write(self, mask: MetaTensor, source: Path, output: Path, dicom: bool) -> None:
        if dicom:
            write_segmentation(mask, _sources(mask, source), output, self.segments, self.algorithm)
        else:
            write_mask(mask, source, output, len(self.segments))


def _sources(mask: MetaTensor, source: Path) -> list[Dataset]:
    """Headers of the files that the image's voxels came from: where its metadata lists them, those alone."""
    files = read_series(source, dicom_of(mask).get("SeriesInstanceUID") or None)
    instances = str(mask.meta.get(SOURCE_INSTANCES, "")).split("\\")
    used = [file.header for file in files if str(file.header.get("SOPInstanceUID")) in instances]
    return used or [file.header for file in files]


def _segment(segment: str | Segment | Mapping[str, Any]) -> Segment:
    if isinstance(segment, Mapping):
        return Segment(**segment)
    return segment if isinstance(segment, Segment) else Segment(segment)


def _name(source: Path) -> str:
    ending = next((suffix for suffix in SUFFIXES if source.is_file() and source.name.lower().endswith(suffix)), "")
    return source.name[: len(source.name) - len(ending)]
