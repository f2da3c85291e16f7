"""What can be cut into slices, and which images and labels can be cut alike."""

from __future__ import annotations

import torch
from monai.data import MetaTensor

from fedmed_transforms.image_metadata import dicom_of, file_of
from fedmed_transforms.preprocessing.pictures import cut_of, slices_of

AFFINE_TOLERANCE = 0.1
"""Millimetres by which a corner of an image and that of its label may lie apart, as files round them."""


def check_slices(image: torch.Tensor, neighbours: bool) -> None:
    """Refuses what cannot be cut into slices, or into slices with neighbours.

    Parameters
    ----------
    image
        (C, X, Y, Z), or a picture (C, X, Y).
    neighbours
        Whether each slice is to have its neighbours beside it.

    Raises
    ------
    ValueError
        It has another number of axes; or neighbours are asked for and it has several channels or one slice. The
        message names its file.
    """
    _check_axes(image)
    if neighbours and image.shape[0] != 1:
        raise ValueError(f"{file_of(image)}: found {image.shape[0]} channels, expected one to have neighbours")
    if neighbours and slice_count(image) == 1:
        raise ValueError(f"{file_of(image)}: found one slice, expected at least two to have neighbours")


def check_label(image: torch.Tensor, label: torch.Tensor) -> None:
    """Refuses a label that does not lie on its image, and a labelled volume of one slice.

    A single slice is an image of its own if it is a picture or DICOM, whose files hold one each; a NIfTI file of one
    slice is a volume that lacks the others.

    Parameters
    ----------
    image
        (C, X, Y, Z), or a picture (C, X, Y).
    label
        (n, X, Y, Z) of the same geometry; (n, X, Y) beside a picture, or beside one slice of DICOM.

    Raises
    ------
    ValueError
        As said; the message names the files and what was measured.
    """
    _check_axes(image)
    if image.ndim == 4 and slice_count(image) == 1:
        if not dicom_of(image):
            raise ValueError(
                f"{file_of(image)}: found a volume of one slice, expected at least two (or a picture, or DICOM)"
            )
        if label.ndim == 3 and image.shape[3] == 1:
            image = image[..., 0]
    check_same_geometry(image, label)


def check_same_geometry(image: torch.Tensor, other: torch.Tensor) -> None:
    """Refuses images that differ in shape, channels aside, or lie apart by their affines.

    The affines of two pictures (C, X, Y) are not compared, as pictures have no place in a patient.

    Raises
    ------
    ValueError
        As said; the message names both files and what was measured.
    """
    files = f"{file_of(image)} and {file_of(other)}"
    if image.shape[1:] != other.shape[1:]:
        found = f"{tuple(image.shape[1:])} and {tuple(other.shape[1:])}"
        raise ValueError(f"{files}: found the shapes {found}, expected the same")
    if image.ndim == 4 and isinstance(image, MetaTensor) and isinstance(other, MetaTensor):
        apart = corners_apart(image, other)
        if not apart <= AFFINE_TOLERANCE:
            raise ValueError(f"{files}: found corners {apart:g} mm apart, expected at most {AFFINE_TOLERANCE}")


def corners_apart(image: MetaTensor, other: MetaTensor) -> float:
    """The largest distance in mm between the same corners of two volumes (C, X, Y, Z) of one shape."""
    ends = [torch.tensor([0.0, side - 1]) for side in image.shape[1:]]
    corners = torch.cat([torch.cartesian_prod(*ends), torch.ones(8, 1)], dim=1).double()
    difference = (image.affine.cpu().double() - other.affine.cpu().double())[:3]
    return float((corners @ difference.T).norm(dim=1).max())


def slice_count(image: torch.Tensor) -> int:
    """How many slices an image has across its cut."""
    return slices_of(image).shape[1 + cut_of(image).order[0]]


def _check_axes(image: torch.Tensor) -> None:
    if image.ndim not in (3, 4):
        expected = "a volume (C, X, Y, Z) or a picture (C, X, Y)"
        raise ValueError(f"{file_of(image)}: expected {expected}, found shape {tuple(image.shape)}")
