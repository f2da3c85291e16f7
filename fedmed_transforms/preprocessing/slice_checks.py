"""Checks that images can be cut into slices, and that images and labels can be cut alike."""

from __future__ import annotations

import torch
from monai.data import MetaTensor

from fedmed_transforms.image_metadata import dicom_of, file_of
from fedmed_transforms.preprocessing.pictures import cut_of, slices_of

AFFINE_TOLERANCE = 0.1
"""Largest distance in mm between the corners of an image and of its label; files round their affines."""


def check_slices(image: torch.Tensor, neighbours: bool) -> None:
    """Refuses an image that cannot be cut into slices, or into slices with neighbours.

    Parameters
    ----------
    image
        (C, X, Y, Z), or a picture (C, X, Y).
    neighbours
        Whether each slice gets its neighbours as channels.

    Raises
    ------
    ValueError
        The image has another number of axes, or it has several channels or one slice and `neighbours` is set. The
        message names the file.
    """
    _check_axes(image)
    if neighbours and image.shape[0] != 1:
        raise ValueError(f"{file_of(image)}: found {image.shape[0]} channels, expected one to have neighbours")
    if neighbours and slice_count(image) == 1:
        raise ValueError(f"{file_of(image)}: found one slice, expected at least two to have neighbours")


def check_label(image: torch.Tensor, label: torch.Tensor) -> None:
    """Refuses a label that does not lie on its image, and a labelled volume of one slice.

    A single slice is a complete image if it is a picture or DICOM, because their files hold one slice each; a NIfTI
    file of one slice is a volume that lacks its other slices.

    Parameters
    ----------
    image
        (C, X, Y, Z), or a picture (C, X, Y).
    label
        (n, X, Y, Z) of the same geometry; (n, X, Y) for a picture, or for one slice of DICOM.

    Raises
    ------
    ValueError
        The geometries differ, or the volume has one slice; the message names the files and the measured values.
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
    """Refuses images that differ in shape (except channels) or in position by their affines.

    The affines of two pictures (C, X, Y) are not compared, because pictures have no position in a patient.

    Raises
    ------
    ValueError
        The shapes or the affines differ; the message names both files and the measured values.
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
    """Returns the largest distance in mm between the same corners of two volumes (C, X, Y, Z) of one shape."""
    ends = [torch.tensor([0.0, side - 1]) for side in image.shape[1:]]
    corners = torch.cat([torch.cartesian_prod(*ends), torch.ones(8, 1)], dim=1).double()  # (8, 4), homogeneous
    difference = (image.affine.cpu().double() - other.affine.cpu().double())[:3]
    return float((corners @ difference.T).norm(dim=1).max())


def slice_count(image: torch.Tensor) -> int:
    """Returns the number of slices of an image across its cut."""
    return slices_of(image).shape[1 + cut_of(image).order[0]]


def _check_axes(image: torch.Tensor) -> None:
    if image.ndim not in (3, 4):
        expected = "a volume (C, X, Y, Z) or a picture (C, X, Y)"
        raise ValueError(f"{file_of(image)}: expected {expected}, found shape {tuple(image.shape)}")
