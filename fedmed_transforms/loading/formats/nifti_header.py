"""Reads the header of a NIfTI file: nibabel parses it, numbers that cannot be meant are refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.loading.inflate import read_start

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")

SINGLE_SUFFIXES = (".nii", ".nii.gz")

HEADERS = (
    (nib.Nifti1Header, nib.Nifti2Header),
    (nib.nifti1.Nifti1PairHeader, nib.nifti2.Nifti2PairHeader),
)
"""nibabel's header classes for single files, and for pairs."""

MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Length of a spatial unit in mm by its code in ``xyzt_units``: unknown (mm is usual), metre, millimetre, micron."""

SPATIAL_UNITS = 7
"""Bits of ``xyzt_units`` that hold the spatial unit."""

MOST_AXES = 7


def read_nifti_header(path: Path) -> Any:
    """Reads the header with nibabel's checks. Extensions are not read: nibabel has no limit on their size.

    Raises
    ------
    ValueError
        The file is missing, or begins as no NIfTI-1 or NIfTI-2 image.
    """
    if not path.is_file():
        raise Damaged("no such file")
    single = path.name.lower().endswith(SINGLE_SUFFIXES)
    start = read_start(file_of_pair(path, "header"), 540)
    for kind in HEADERS[0 if single else 1]:
        if kind.may_contain_header(start):
            content = start[: kind.template_dtype.itemsize]
            header = kind(content, check=False)
            offset_of(header)
            kind(content)  # nibabel's checks, which would replace numbers that cannot be meant by others
            if 3000 <= int(header["intent_code"]) < 3100:
                raise Damaged("a CIFTI file, expected an image")
            if not 1 <= int(header["dim"][0]) <= MOST_AXES:
                raise Damaged(f"dim[0] {int(header['dim'][0])}, expected 1 to {MOST_AXES} axes")
            return header
    raise Damaged(f"{len(start)} bytes that begin as no NIfTI-1 or NIfTI-2 header")


def voxel_file(path: Path, header: Any) -> Path:
    """Returns the file that holds the voxels: the file itself, or the image file of a pair."""
    return path if header.is_single else file_of_pair(path, "image")


def file_of_pair(path: Path, part: str) -> Path:
    """Returns the file of a pair that holds the header or the image, by nibabel's rules of names."""
    if path.name.lower().endswith(SINGLE_SUFFIXES):
        return path
    return Path(nib.Nifti1Pair.filespec_to_file_map(path)[part].filename)


def offset_of(header: Any) -> int:
    """Returns the place of the first voxel.

    Raises
    ------
    ValueError
        The place is no whole number, is negative, or lies inside the header of a single file.
    """
    offset, least = float(header["vox_offset"]), header.single_vox_offset if header.is_single else 0
    if not (math.isfinite(offset) and offset == int(offset) and offset >= least):
        inside = ": the voxels cannot begin inside the header" if header.is_single else ""
        raise Damaged(f"vox_offset {offset:g}, expected {least} or more{inside}")
    return int(offset)


def scaling_of(header: Any) -> tuple[float, float]:
    """Returns slope and intercept. A slope of 0 or that is not finite means no scaling; such an intercept means 0."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    return slope, intercept if math.isfinite(intercept) else 0.0


def affine_of(header: Any) -> npt.NDArray[np.float64]:
    """Returns the affine, (4, 4), voxels to mm, RAS.

    The affine is nibabel's choice of sform, qform or spacings, in mm by the header's spatial unit. An sform of zeros or
    NaN counts as missing if the header states a qform.

    Raises
    ------
    ValueError
        The affine that the header states cannot be inverted, or a number that it is made of cannot be meant.
    """
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if min(sform_code, qform_code) < 0:
        raise Damaged(f"sform_code {sform_code} and qform_code {qform_code}, expected 0 or more")
    sform = np.asarray(header.get_sform(), dtype=np.float64)
    if sform_code > 0 and (_is_invertible(sform) or not (qform_code > 0 or _states_qform(header))):
        affine = sform
    else:
        affine = _by_spacing(header, sform_code > 0 or qform_code > 0)
    if not _is_invertible(affine):
        raise Damaged(f"an affine that cannot be inverted: {affine.tolist()}")
    return np.diag([*[_unit(header)] * 3, 1.0]) @ affine


def _by_spacing(header: Any, by_qform: bool) -> npt.NDArray[np.float64]:
    """Returns the affine by the qform, or by the spacings alone; both need spacings above 0."""
    axes = min(3, int(header["dim"][0]))
    spacing = [float(value) for value in header["pixdim"][1 : axes + 1]]
    if not all(0 < value < math.inf for value in spacing):
        raise Damaged(f"pixdim {spacing}, expected numbers above 0, or an sform")
    if not by_qform:
        return np.asarray(header.get_base_affine(), dtype=np.float64)
    turned = header.copy()
    turned["pixdim"][axes + 1 : 4] = 1  # axes that the image lacks
    turned["pixdim"][0] = _qfac(float(header["pixdim"][0]))
    return np.asarray(turned.get_qform(coded=False), dtype=np.float64)


def _qfac(stated: float) -> float:
    if stated not in (-1, 0, 1):
        raise Damaged(f"pixdim[0] {stated:g}, expected 1 or -1")
    return stated or 1.0  # 0 stands for 1 (nifti1.h, METHOD 2)


def _unit(header: Any) -> float:
    code = int(header["xyzt_units"]) & SPATIAL_UNITS
    if code not in MILLIMETRES:
        raise Damaged(f"the spatial unit {code} in xyzt_units, expected 0 to {max(MILLIMETRES)}")
    return MILLIMETRES[code]


def _states_qform(header: Any) -> bool:
    """Checks whether the fields of the qform are set, whatever its code: an unset qform is all zeros."""
    names: Sequence[str] = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    return any(float(header[name]) != 0 for name in names)


def _is_invertible(affine: npt.NDArray[np.float64]) -> bool:
    if not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)  # of the axes; a determinant has no unit relative to them
    return bool(lengths.min() > 0 and abs(np.linalg.det(affine[:3, :3] / lengths)) >= 1e-6)
