"""Writes masks as DICOM segmentations (SEG) at the place of their source images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import torch
from monai.data import MetaTensor
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from fedmed_transforms.dicom.geometry.mask_grid import Array, Plane, mask_on_planes
from fedmed_transforms.dicom.geometry.nearest_voxels import nearest_on_planes
from fedmed_transforms.dicom.silenced_parsers import without_parser_texts
from fedmed_transforms.image_metadata import LPS_FROM_RAS
from fedmed_transforms.results.dicom_result import (
    CHARACTER_SET,
    COLORS,
    COPIED_HEADER,
    MANUFACTURER,
    MODEL,
    SOFTWARE_VERSION,
    Algorithm,
    Code,
    checked_text,
    concept,
    save_whole,
)
from fedmed_transforms.results.identity import ResultIdentity, frame_digests
from fedmed_transforms.results.source_frames import Frames, frames_as_content, select_frames, state_frames
from fedmed_transforms.results.source_geometry import (
    pixel_grids,
    with_written_geometry,
    without_geometry,
    without_rounding,
)
from fedmed_transforms.results.sources import Sources, read_sources, source_name, source_planes
from fedmed_transforms.results.unfolded_sources import refer_to_sources, unfold_sources

SERIES_NUMBER = 900
"""Far from the numbers that scanners give."""

TISSUE = ("85756007", "SCT", "Tissue")


@dataclass(frozen=True)
class Segment:
    """The description of a mask's channel.

    Attributes
    ----------
    label
        Its name, at most 64 characters.
    category, kind
        Segmented property category (CID 7150) and type (CID 7151 and others): value, coding scheme, meaning.

    Examples
    --------
    >>> from fedmed_transforms import Segment
    >>> Segment("liver", kind=("10200004", "SCT", "Liver")).label
    'liver'
    """

    label: str
    category: Code = TISSUE
    kind: Code = TISSUE


def write_segmentation(
    mask: torch.Tensor,
    sources: Sources,
    output: str | Path,
    segments: Sequence[str | Segment],
    algorithm: Algorithm = Algorithm(),
    affine: torch.Tensor | None = None,
    nearest: bool = False,
    frames: Frames | None = None,
) -> Path:
    """Writes a mask as a binary DICOM segmentation of its source images.

    A slice of the mask is matched with a source image by its position alone; axes in another order or direction are
    brought into the source's. Slices in which a segment is empty are left out of the file, as is usual. The same mask
    of the same images by the same algorithm has the same UIDs, see :mod:`fedmed_transforms.results.identity`.

    Parameters
    ----------
    mask
        (n, X, Y, Z), or (n, X, Y) of one image, False or True (0 or 1): a channel a segment, without background;
        segments may overlap. x runs along a row's columns, y along the rows, unless the affine states another order.
    sources
        The images that the mask was made from, all of them: files, a folder with one series, or datasets. One
        multi-frame image suffices, or one image without a position, whose mask must have its axes.
    output
        The file to write.
    segments
        A label or a description of each channel.
    algorithm
        The algorithm that computed the mask.
    affine
        (4, 4) voxel indices to mm, RAS; None for that of the mask, a MetaTensor.
    nearest
        Whether the mask is of a volume that was resampled from the sources: their pixels take its nearest voxels.
    frames
        Of multi-frame sources of which not all frames belong to the mask: the numbers of its frames, from 1, by
        SOPInstanceUID. The segmentation refers to these frames alone.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        The mask is not binary, not on the grid of the sources (the message states distances in mm) or not of as many
        channels as segments, or a source is no DICOM image; the message names the file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_transforms import load_image, write_segmentation
    >>> from pydicom.data import get_testdata_file
    >>> source = get_testdata_file("CT_small.dcm")
    >>> with TemporaryDirectory() as folder:
    ...     write_segmentation(load_image(source) > 0, source, f"{folder}/seg.dcm", ["tissue"]).name
    'seg.dcm'
    """
    selected = frames or {}
    originals = read_sources(sources)
    name = source_name(originals[0], 1)
    unfolded = unfold_sources(originals)
    headers = select_frames(unfolded, selected)
    described = [segment if isinstance(segment, Segment) else Segment(segment) for segment in segments]
    values = binary_values(mask, len(described), name)
    planes = source_planes(headers)
    try:
        planes = without_rounding(planes) if planes else None
        grids = pixel_grids(planes, headers[0]) if planes else None
        masks = _frames(values, _ras_affine(mask, affine), headers[0], grids, nearest)
        headers = with_written_geometry(headers, planes) if planes else without_geometry(headers)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    descriptions = [_description(number, *pair) for number, pair in enumerate(_with(described, algorithm), start=1)]
    content = [[asdict(segment) for segment in described], frame_digests(masks, headers), *frames_as_content(selected)]
    identity = ResultIdentity(headers, algorithm, content)
    with without_parser_texts(name, COPIED_HEADER):
        result = hd.seg.Segmentation(
            source_images=headers, pixel_array=np.moveaxis(masks, 0, -1), segmentation_type="BINARY",
            segment_descriptions=descriptions, series_instance_uid=identity.uid("series"), series_number=SERIES_NUMBER,
            sop_instance_uid=identity.uid("instance"), instance_number=1, manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL, software_versions=SOFTWARE_VERSION, device_serial_number=SOFTWARE_VERSION,
            specific_character_set=CHARACTER_SET,
        )  # fmt: skip
    result.SeriesDescription = algorithm.description
    state_frames(result, selected)
    refer_to_sources(result, originals, unfolded)
    if not planes:  # without a frame of reference they mean nothing, and readers need a thickness in them
        result.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence", None)
        result.PatientOrientation = headers[0].get("PatientOrientation") or ""  # PS3.3, C.7.6.1: there, if only empty
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = identity.uid("dimensions")
    return save_whole(result, output)


def binary_values(mask: torch.Tensor, channels: int, name: str) -> Array:
    """Converts a mask to an array (n, X, Y, Z), uint8; a mask (n, X, Y) gets a last axis of one slice.

    Raises
    ------
    ValueError
        It has another number of dimensions or channels, or values besides 0 and 1; the message names the source.
    """
    values = mask.detach().cpu().as_tensor() if isinstance(mask, MetaTensor) else mask.detach().cpu()
    if values.ndim not in (3, 4) or len(values) != channels or not values.numel():
        raise ValueError(
            f"{name}: expected a mask (n, X, Y) or (n, X, Y, Z) with a channel for each of {channels} segments, "
            f"found {tuple(values.shape)}"
        )
    binary = values.to(torch.uint8)
    if not torch.equal(binary.to(values.dtype), values) or int(binary.max()) > 1:
        raise ValueError(
            f"{name}: expected a mask of 0 and 1, found other values (a label map needs a channel a label)"
        )
    return np.asarray(binary if values.ndim == 4 else binary[..., None])


def _ras_affine(mask: torch.Tensor, affine: torch.Tensor | None) -> Array | None:
    if affine is None and isinstance(mask, MetaTensor):
        affine = mask.affine
    return None if affine is None else np.asarray(torch.as_tensor(affine).cpu(), dtype=float)


def _frames(
    values: Array, affine: Array | None, first: Dataset, planes: list[Plane] | None, nearest: bool
) -> Array:
    """Puts a mask on the sources' frames, in their order: (n, X, Y, Z) -> (n, frames, rows, columns)."""
    if planes is not None:
        if affine is None:
            raise ValueError("expected a mask with an affine, found a plain tensor and no affine")
        put = nearest_on_planes if nearest else mask_on_planes
        return put(values, LPS_FROM_RAS @ affine, planes)
    expected = (int(first.Columns), int(first.Rows), 1)
    if values.shape[1:] != expected:
        raise ValueError(f"mask: expected (columns, rows, 1) = {expected} of an image without a position, "
                         f"found {values.shape[1:]}")  # fmt: skip
    return values.transpose(0, 3, 2, 1)  # (n, X, Y, 1) -> (n, 1, rows, columns)


def _with(segments: list[Segment], algorithm: Algorithm) -> list[tuple[Segment, Algorithm]]:
    labels = [segment.label for segment in segments]
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"segments: expected labels that differ, found {labels}")
    return [(segment, algorithm) for segment in segments]


def _description(number: int, segment: Segment, algorithm: Algorithm) -> Any:
    identification = hd.AlgorithmIdentificationSequence(
        name=checked_text(algorithm.name, "name of the algorithm"),
        family=codes.cid7162.ArtificialIntelligence,
        version=checked_text(algorithm.version, "version of the algorithm"),
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=checked_text(segment.label, "label of a segment"),
        segmented_property_category=concept(segment.category),
        segmented_property_type=concept(segment.kind),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=identification,
        display_color=hd.color.CIELabColor.from_rgb(*COLORS[(number - 1) % len(COLORS)]),
    )
