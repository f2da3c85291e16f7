"""Writes masks to NIfTI files in the geometry of their source."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

from fedmed_transforms.dicom.geometry.mask_grid import mask_on_planes, planes_of_volume
from fedmed_transforms.loading.formats.nifti_header import NIFTI_SUFFIXES, affine_of, read_nifti_header
from fedmed_transforms.results.segmentation_object import binary_values
from fedmed_transforms.whole_file import whole_file


def write_mask(mask: torch.Tensor, source: str | Path, output: str | Path, channels: int) -> Path:
    """Writes a binary mask as NIfTI, uint8.

    Parameters
    ----------
    mask
        (n, X, Y, Z) or (n, X, Y), 0 and 1; its affine, if it is a MetaTensor, is in mm, RAS.
    source
        The image that the mask was made from. If it is a NIfTI file, the mask's axes are brought into its order and
        direction, and its affine is taken over, in mm; of another file the mask keeps its own.
    output
        The file to write, (X, Y, Z) of one channel, (X, Y, Z, n) of several: channels may overlap, so they are not
        merged into one map of labels.
    channels
        How many channels the mask must have.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        The mask is not binary, has another number of channels, or is not on the grid of the source; the message names
        the source.
    """
    values = binary_values(mask, channels, str(source))
    affine = np.asarray(mask.affine.cpu(), dtype=float) if isinstance(mask, MetaTensor) else np.eye(4)
    if str(source).lower().endswith(NIFTI_SUFFIXES):
        try:
            header = read_nifti_header(Path(source))
            shape, stated = (*header.get_data_shape()[:3], 1)[:3], affine_of(header)
            planes = mask_on_planes(values, affine, planes_of_volume(stated, shape))
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        values, affine = planes.transpose(0, 3, 2, 1), stated  # (n, slices, rows, columns) -> (n, X, Y, Z)
    written = nib.Nifti1Image(values[0] if channels == 1 else np.moveaxis(values, 0, -1), affine)
    written.header.set_xyzt_units("mm")
    with whole_file(Path(output)) as temporary:
        nib.save(written, temporary)
    return Path(output)
