"""A handler that writes the masks that an evaluator made, beside which a clinic finds the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.results.dicom_result import Algorithm, Code
from fedmed_transforms.results.nifti_mask import write_mask
from fedmed_transforms.results.save_segmentation import outputs_of, source_path, write_masks
from fedmed_transforms.results.segmentation_object import Segment
from fedmed_transforms.whole_file import whole_file
from fedmed_workflows.clinic.result_files import ResultFiles

MASKS = "masks"


class SegmentationFiles(ResultFiles):
    """Writes every image's masks as soon as they are there: of DICOM as DICOM SEG and NIfTI, of NIfTI as NIfTI, of
    pictures as PNG.

    Items hold ``masks`` (n, X, Y[, Z]), 0 and 1, in the image's geometry.

    Parameters
    ----------
    output_dir
        Folder of the files.
    segments
        Label of each channel.
    codes
        By label, what :class:`fedmed_transforms.Segment` takes besides: ``category``, ``kind``.
    algorithm
        Name and version of what made the masks, for DICOM.

    Raises
    ------
    ValueError
        A code is of a label that no channel has.
    """

    def __init__(
        self,
        output_dir: str,
        segments: Sequence[str],
        codes: Mapping[str, Mapping[str, Code]] | None = None,
        algorithm: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(output_dir)
        codes = codes or {}
        unknown = sorted(set(codes) - set(segments))
        if unknown:
            raise ValueError(f"codes: expected labels of {list(segments)}, found {unknown}")
        self.segments = [Segment(label, **codes.get(label, {})) for label in segments]
        self.algorithm = Algorithm(**(algorithm or {}))

    def outputs(self, item: Mapping[str, Any], stem: Path) -> list[Path]:
        """``<name>_seg`` with the ending of its format; of DICOM both, of a picture one a channel."""
        first, *others = outputs_of(source_path(item[MASKS], MASKS), stem, self.segments)
        return [first, first.with_suffix(".nii.gz")] if first.suffix == ".dcm" else [first, *others]

    def write(self, item: Mapping[str, Any], outputs: list[Path]) -> None:
        """Writes an image's masks."""
        mask, source = item[MASKS], source_path(item[MASKS], MASKS)
        if outputs[0].suffix != ".dcm":
            write_masks(mask, source, outputs, self.segments, self.algorithm)
            return
        with whole_file(outputs[0]) as object_file, whole_file(outputs[1]) as volume_file:
            write_masks(mask, source, [object_file], self.segments, self.algorithm)
            write_mask(mask, source, volume_file, len(self.segments))
