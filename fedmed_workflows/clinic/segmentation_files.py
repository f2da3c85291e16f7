"""A handler that writes the masks of a segmentation in the format of their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.results.dicom_result import Code
from fedmed_transforms.results.nifti_mask import write_mask
from fedmed_transforms.results.save_segmentation import outputs_of, source_path, write_masks
from fedmed_transforms.results.segmentation_object import Segment
from fedmed_transforms.whole_file import whole_file
from fedmed_workflows.clinic.result_files import ResultFiles

MASKS = "masks"


class SegmentationFiles(ResultFiles):
    """Writes the masks of every image after its pass: DICOM SEG and NIfTI for DICOM, NIfTI for NIfTI, PNG for pictures.

    Items have ``masks`` (n, X, Y[, Z]) with values 0 and 1, in the geometry of the image.

    Parameters
    ----------
    output_dir
        Folder of the files.
    segments
        Label of each channel.
    codes
        Further arguments of :class:`fedmed_transforms.Segment` by label: ``category``, ``kind``.
    algorithm, model
        Name and version of the algorithm, for DICOM, and the file of its network, see
        :class:`fedmed_workflows.clinic.result_files.ResultFiles`.

    Raises
    ------
    ValueError
        A code belongs to a label that no channel has.

    Examples
    --------
    >>> from fedmed_workflows import SegmentationFiles
    >>> files = SegmentationFiles("results", ["liver", "spleen"])
    >>> [segment.label for segment in files.segments]  # .attach(evaluator) has it write the masks of every study
    ['liver', 'spleen']
    """

    def __init__(
        self,
        output_dir: str,
        segments: Sequence[str],
        codes: Mapping[str, Mapping[str, Code]] | None = None,
        algorithm: Mapping[str, str] | None = None,
        model: str | Path | None = None,
    ) -> None:
        super().__init__(output_dir, algorithm, model)
        codes = codes or {}
        unknown = sorted(set(codes) - set(segments))
        if unknown:
            raise ValueError(f"codes: expected labels of {list(segments)}, found {unknown}")
        self.segments = [Segment(label, **codes.get(label, {})) for label in segments]

    def outputs(self, item: Mapping[str, Any], stem: Path) -> list[Path]:
        """Returns ``<name>_seg`` with the ending of its format: two files for DICOM, one per channel for a picture."""
        first, *others = outputs_of(source_path(item[MASKS], MASKS), stem, self.segments)
        return [first, first.with_suffix(".nii.gz")] if first.suffix == ".dcm" else [first, *others]

    def write(self, item: Mapping[str, Any], outputs: list[Path]) -> None:
        """Writes the masks of an image."""
        mask, source = item[MASKS], source_path(item[MASKS], MASKS)
        if outputs[0].suffix != ".dcm":
            write_masks(mask, source, outputs, self.segments, self.algorithm)
            return
        with whole_file(outputs[0]) as object_file, whole_file(outputs[1]) as volume_file:
            write_masks(mask, source, [object_file], self.segments, self.algorithm)
            write_mask(mask, source, volume_file, len(self.segments))
