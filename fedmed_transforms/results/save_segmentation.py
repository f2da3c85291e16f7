"""Writes predicted masks in the format of their image: DICOM for DICOM, NIfTI for NIfTI, PNG for pictures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from fedmed_transforms.dicom.series import read_series
from fedmed_transforms.image_metadata import RESAMPLED, SOURCE_INSTANCES, dicom_of, source_files, source_frames
from fedmed_transforms.loading.dicom import is_dicom_path
from fedmed_transforms.loading.find import stem_of
from fedmed_transforms.results.dicom_result import Algorithm
from fedmed_transforms.results.nifti_mask import write_mask
from fedmed_transforms.results.picture_mask import is_picture, mask_files, write_picture_masks
from fedmed_transforms.results.segmentation_object import Segment, write_segmentation
from fedmed_transforms.results.sources import Sources


class SaveSegmentationd(MapTransform):
    """Writes masks: those of a DICOM file or series as DICOM SEG, of a NIfTI file as NIfTI, of a picture as PNG.

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
        For each channel a label, or the parameters of :class:`fedmed_transforms.Segment`.
    algorithm
        Name and version of the algorithm that computed the masks.

    Raises
    ------
    ValueError
        A mask names no source, is not binary or not on its source's grid, or two images have one name; the message
        names the image.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_transforms import SaveSegmentationd, load_image
    >>> from pydicom.data import get_testdata_file
    >>> mask = load_image(get_testdata_file("CT_small.dcm")) > 0
    >>> with TemporaryDirectory() as folder:
    ...     data = SaveSegmentationd("mask", folder, ["tissue"])({"mask": mask})
    ...     [file.name for file in Path(folder).iterdir()]
    ['CT_small_seg.dcm']
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
        source = source_path(mask, key)
        outputs = outputs_of(source, self.output_dir / stem_of(source), self.segments)
        for output in outputs:
            if self._written.setdefault(output, str(source)) != str(source):
                taken = self._written[output]
                raise ValueError(f"{source}: its result {output} is that of {taken}, expected another name")
        try:
            write_masks(mask, source, outputs, self.segments, self.algorithm)
        except OSError as error:
            names = ", ".join(map(str, outputs))
            raise ValueError(f"{source}: its result {names} can't be written: {error.strerror}") from error


def source_path(result: Any, key: str) -> Path:
    """Finds the path of the image that a result was computed from.

    Raises
    ------
    ValueError
        The result names none, or it is gone; the message names the key.
    """
    source = result.meta.get("filename_or_obj") if isinstance(result, MetaTensor) else None
    if not source or not Path(source).exists():
        raise ValueError(f"{key}: expected a MetaTensor whose meta names an image's file, found {source!r}")
    return Path(source)


def outputs_of(source: Path, stem: Path, segments: Sequence[Segment]) -> list[Path]:
    """Names the files of an image's masks in the format of the image; of a picture one a segment."""
    if is_picture(source):
        return mask_files(stem.parent, f"{stem.name}_seg", [segment.label for segment in segments])
    return [stem.with_name(f"{stem.name}_seg{'.dcm' if is_dicom_path(source) else '.nii.gz'}")]


def write_masks(
    mask: MetaTensor, source: Path, outputs: Sequence[Path], segments: Sequence[Segment], algorithm: Algorithm
) -> None:
    """Writes an image's masks to the files that :func:`outputs_of` names.

    Raises
    ------
    ValueError
        The mask is not binary, or not on its source's grid; the message names the source.
    OSError
        A file can't be written.
    """
    if is_picture(source):
        write_picture_masks(mask, source, outputs)
    elif is_dicom_path(source):
        sources, nearest = sources_of(mask, source), bool(mask.meta.get(RESAMPLED))
        frames = source_frames(mask)
        write_segmentation(mask, sources, outputs[0], segments, algorithm, nearest=nearest, frames=frames)
    else:
        write_mask(mask, source, outputs[0], len(segments))


def sources_of(result: MetaTensor, source: Path) -> Sources:
    """Finds the DICOM images that an image's voxels came from; where its metadata lists them, only those."""
    known = source_files(result)
    if known:
        return known
    files = read_series(source, dicom_of(result).get("SeriesInstanceUID") or None)
    instances = str(result.meta.get(SOURCE_INSTANCES, "")).split("\\")
    used = [file.header for file in files if str(file.header.get("SOPInstanceUID")) in instances]
    return used or [file.header for file in files]


def _segment(segment: str | Segment | Mapping[str, Any]) -> Segment:
    if isinstance(segment, Mapping):
        return Segment(**segment)
    return segment if isinstance(segment, Segment) else Segment(segment)


RESULT_EXTENSION = "result_extension"
"""Entry of a request in which MONAI Label looks for the ending of the file that it is to write."""


class ResultFormatd(MapTransform):
    """Sets the file ending of MONAI Label's results where its request names none: PNG for a picture, else NIfTI.

    MONAI Label would use the ending of the image: a JPEG blurs labels, a folder with a DICOM series has no ending.

    Parameters
    ----------
    keys
        Entries that hold results: MetaTensors whose ``meta["filename_or_obj"]`` is the image's path. A result
        without a path sets no ending.
    allow_missing_keys
        Whether data may lack a key.

    Examples
    --------
    >>> from fedmed_transforms import ResultFormatd, load_image
    >>> from pydicom.data import get_testdata_file
    >>> ResultFormatd("pred")({"pred": load_image(get_testdata_file("CT_small.dcm"))})["result_extension"]
    '.nii.gz'
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Adds the ending; the results stay as they are."""
        named = dict(data)
        for key in self.key_iterator(named):
            result = named[key]
            source = result.meta.get("filename_or_obj") if isinstance(result, MetaTensor) else None
            if source and not named.get(RESULT_EXTENSION):
                named[RESULT_EXTENSION] = ".png" if is_picture(Path(source)) else ".nii.gz"
        return named
