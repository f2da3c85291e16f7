"""Loads a structure set (RTSTRUCT) as the label of an image; its contours have no voxels of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fedmed_transforms.dicom.structures.structure_set import read_structures
from fedmed_transforms.image_metadata import STRUCTURES, Loaded, metadata_of


def load_structures(path: Path, file: Path, device: torch.device, beside_image: bool) -> Loaded:
    """Loads the structures of a set for :class:`fedmed_transforms.SegmentationToLabelsd`.

    Parameters
    ----------
    path, file
        The path as the user named it, and the file.
    device
        The device of the label that the structures become.
    beside_image
        Whether an image is loaded with the structures.

    Returns
    -------
    tuple
        (n, 0, 0, 0) float32 for n structures; the metadata with their names and contours.

    Raises
    ------
    ValueError
        There is no image beside the structures, or the file is damaged; the message names the path.
    """
    if not beside_image:
        raise ValueError(
            f"{path}: found no DICOM image, but contours without voxels (RTSTRUCT); contours are the label of their "
            "image: LoadMedicalImaged(['image', 'label']) and SegmentationToLabelsd('label', 'image') draw them on it"
        )
    structures = read_structures(file)
    values = torch.zeros(len(structures), 0, 0, 0, device=device)
    return values, {**metadata_of(path, np.eye(4), values.shape[1:]), STRUCTURES: tuple(structures)}
