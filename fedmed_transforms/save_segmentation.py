"""A prediction's masks to files in the form of their image's: DICOM of DICOM, NIfTI of NIfTI, PNG of pictures."""

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
from fedmed_transforms.find import stem_of
from fedmed_transforms.image_metadata import SOURCE_INSTANCES, dicom_of
from fedmed_transforms.mask_file import write_mask
from fedmed_transforms.picture_mask import is_picture, mask_files, write_picture_masks
from fedmed_transforms.segmentation_object import Segment, write_segmentation
from fedmed_transforms.series import read_series


class SaveSegmentationd(MapTransform):
    """Writes masks: a DICOM file's or series' as DICOM segmentation, a NIfTI file's as NIfTI, a picture's as PNG.

    The file is ``<name>_seg.dcm``, ``<name>_seg.nii.gz`` or ``<name>_seg.png`` in the output folder; the name is that
    of the image's file or, of a series, of its folder. PNG files hold 0 and 255; of several channels each has its own
    file, ``<name>_seg_<label>.png``.

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
        outputs = self._outputs(Path(source))
        for output in outputs:
            if self._written.setdefault(output, str(source)) != str(source):
                taken = self._written[output]
                raise ValueError(f"{source}: its result {output} is that of {taken}, expected another name")
        try:
            self._write(mask, Path(source), outputs)
        except OSError as error:
            names = ", ".join(map(str, outputs))
            raise ValueError(f"{source}: its result {names} can't be written: {error.strerror}") from error

    def _outputs(self, source: Path) -> list[Path]:
        name = f"{stem_of(source)}_seg"
        if is_picture(source):
            return mask_files(self.output_dir, name, [segment.label for segment in self.segments])
        return [self.output_dir / f"{name}{'.dcm' if is_dicom_path(source) else '.nii.gz'}"]

    def _write(self, mask: MetaTensor, source: Path, outputs: Sequence[Path]) -> None:
        if is_picture(source):
            write_picture_masks(mask, source, outputs)
        elif is_dicom_path(source):
            write_segmentation(mask, _sources(mask, source), outputs[0], self.segments, self.algorithm)
        else:
            write_mask(mask, source, outputs[0], len(self.segments))


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
