"""Writes demo data for segmentation in seconds: volumes of a body with one organ, in the formats of hospitals.

Harbour has DICOM series with NIfTI labels, hillside and the unseen hospital NIfTI, riverbend PNG pictures. The organ is
label 1. Run ``python -m fedmed_transforms volume_phantoms FOLDER``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from fedmed_transforms.simulation.phantom_folder import MARKER, write_by_command, write_phantoms
from fedmed_transforms.simulation.phantom_series import SLICE_THICKNESS, series_affine, stored_values, write_series
from fedmed_transforms.simulation.scanners import SCANNERS, Image, Scanner, pixel_grid, scan, soft_mask

VERSION = 1
"""Version of the files; a change that gives other files for the same parameters must raise it."""

SLICES = 6

BODY, ORGAN, VESSEL = 0.3, 0.7, 1.0
"""Brightness of the tissues before the scanner's contrast."""


@dataclass(frozen=True)
class Volume:
    """Holds the volume of a patient.

    Attributes
    ----------
    patient
        Pseudonym with the name of the site.
    image
        Values in [0, 1], (slices, rows, columns), from the feet upwards.
    label
        1 in the organ and 0 elsewhere, same shape, uint8.
    """

    patient: str
    image: Image
    label: npt.NDArray[np.uint8]


def draw_volume(scanner: Scanner, size: int, rng: np.random.Generator) -> tuple[Image, npt.NDArray[np.uint8]]:
    """Draws a body with an ellipsoid organ, two vessels brighter than the rest, and a bowel as bright as the organ.

    The organ lies on one side of the body and the bowel on the other, each on a random side: neither brightness nor
    position distinguishes them.

    Parameters
    ----------
    scanner
        The scanner with its contrast, noise, shading and matrix.
    size
        Pixels of a side for a scanner whose relative matrix is 1.
    rng
        Random generator of positions, sizes, rotations, the organ's texture, and the scanner's shading and noise.

    Returns
    -------
    tuple
        Image and label, as in :class:`Volume`.
    """
    x, y = pixel_grid(round(size * scanner.matrix))
    z = ((np.arange(SLICES) - (SLICES - 1) / 2) * SLICE_THICKNESS)[:, None, None]  # mm
    outline, side = rng.uniform(0.8, 0.95, 2), rng.choice([-1, 1])
    body = BODY * soft_mask(np.hypot(x / outline[0], y / outline[1]), 1.0)
    organ, texture = _organ(x, y, z, side, rng)
    image = _over(body, organ, ORGAN * texture)
    image = _over(image, _bowel(x, y, z, -side, rng), ORGAN)
    image = _over(image, _vessels(x, y, rng), VESSEL)
    return scan(image, scanner, rng), (organ > 0.5).astype(np.uint8)


def _over(image: Image, shape: Image, brightness: float | Image) -> Image:
    """Draws a shape in [0, 1] with a brightness over an image."""
    return image + shape * (brightness - image)


def _organ(x: Image, y: Image, z: Image, side: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """Draws an ellipsoid, which the outer slices may not contain, and its texture: waves around 1."""
    right, down = side * rng.uniform(0.25, 0.35), rng.uniform(-0.2, 0.1)
    turn, up = rng.uniform(-0.5, 0.5), rng.uniform(-3, 3)
    along = np.cos(turn) * (x - right) + np.sin(turn) * (y - down)
    across = np.cos(turn) * (y - down) - np.sin(turn) * (x - right)
    radii = np.array([0.2, 0.3, 11]) + rng.random(3) * (0.1, 0.12, 4)  # the last one in mm
    distance = np.sqrt((along / radii[0]) ** 2 + (across / radii[1]) ** 2 + ((z - up) / radii[2]) ** 2)
    waves = rng.uniform(12, 18, 2)
    texture = 1 + 0.12 * np.cos(waves[0] * along + 0.4 * z) * np.cos(waves[1] * across)
    return soft_mask(distance, 1.0), texture


def _bowel(x: Image, y: Image, z: Image, side: int, rng: np.random.Generator) -> Image:
    """Draws the cross-section of a bent tube: a ring whose middle is as dark as the body."""
    right = side * rng.uniform(0.38, 0.45) + rng.uniform(-0.004, 0.004) * z
    down = rng.uniform(-0.2, 0.2) + rng.uniform(-0.004, 0.004) * z
    radius, distance = rng.uniform(0.16, 0.22), np.hypot(x - right, y - down)
    return soft_mask(distance, radius) - soft_mask(distance, 0.5 * radius)


def _vessels(x: Image, y: Image, rng: np.random.Generator) -> Image:
    """Draws two discs at the back, the same in all slices."""
    places = zip((-0.12, 0.12), rng.uniform(0.45, 0.55, 2), rng.uniform(0.05, 0.08, 2), strict=True)
    return np.maximum(*(soft_mask(np.hypot(x - right, y - down), radius) for right, down, radius in places))


def write_segmentation_sites(folder: str | Path, volumes: int = 12, seed: int = 0, size: int = 64) -> Path:
    """Writes ``folder/{harbour,hillside,riverbend,unseen}/{images,labels}``, all or nothing.

    A patient's files are ``images/<patient>/*.dcm`` with ``labels/<patient>.nii.gz`` at harbour, ``<patient>.nii.gz``
    in both folders at hillside and the unseen hospital, ``<patient>_<slice>.png`` in both at riverbend; ``<patient>``
    is ``<site>-<number>``. The same parameters give the same bytes; a folder that already holds the phantoms stays
    unchanged.

    Parameters
    ----------
    folder
        The folder to write: missing, empty, or written by this function with the same parameters.
    volumes
        Patients of a site, each with one volume of six slices, 5 mm apart.
    seed
        Seed of all random numbers and DICOM UIDs.
    size
        Pixels of a side for the first scanner; the other scanners have up to 1.75 times as many.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        The folder holds something else, or a parameter is out of range; the message names the folder or the values.
    """
    parameters = {"version": VERSION, "volumes": volumes, "seed": seed, "size": size}
    if volumes < 1 or seed < 0 or size < 16:
        found = json.dumps(parameters)
        raise ValueError(f"phantoms: expected volumes >= 1, seed >= 0 and size >= 16, found {found}")
    return write_phantoms(folder, parameters, lambda whole: _write_all(whole, volumes, seed, size))


def _write_all(folder: Path, volumes: int, seed: int, size: int) -> None:
    for site_index, (site, scanner) in enumerate(SCANNERS.items()):
        for part in ("images", "labels"):
            (folder / site / part).mkdir(parents=True)
        for number in range(1, volumes + 1):
            rng = np.random.default_rng([seed, site_index, number])
            volume = Volume(f"{site}-{number:04d}", *draw_volume(scanner, size, rng))
            WRITERS[site](folder / site, volume, scanner, seed)


def _write_series(site: Path, volume: Volume, scanner: Scanner, seed: int) -> None:
    series = site / "images" / volume.patient
    series.mkdir()
    write_series(series, volume.patient, list(volume.image), scanner, f"{seed} volumes")
    _save_nifti(site / "labels" / f"{volume.patient}.nii.gz", volume.label, scanner)


def _write_nifti(site: Path, volume: Volume, scanner: Scanner, seed: int) -> None:
    _save_nifti(site / "images" / f"{volume.patient}.nii.gz", stored_values(volume.image), scanner)
    _save_nifti(site / "labels" / f"{volume.patient}.nii.gz", volume.label, scanner)


def _save_nifti(path: Path, values: npt.NDArray[np.unsignedinteger], scanner: Scanner) -> None:
    image = nib.Nifti1Image(values.transpose(2, 1, 0), series_affine(values.shape[-1], scanner.field))
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _write_pictures(site: Path, volume: Volume, scanner: Scanner, seed: int) -> None:
    for number, (image, label) in enumerate(zip(volume.image, volume.label, strict=True), start=1):
        name = f"{volume.patient}_{number}.png"
        Picture.fromarray(np.round(image * 255).astype(np.uint8)).save(site / "images" / name)
        Picture.fromarray(label).save(site / "labels" / name)


WRITERS: dict[str, Callable[[Path, Volume, Scanner, int], None]] = {
    "harbour": _write_series,
    "hillside": _write_nifti,
    "riverbend": _write_pictures,
    "unseen": _write_nifti,
}
"""Functions that write the files of each hospital in its format."""


def main() -> None:
    """Runs the command line."""
    folder = write_by_command(
        "fedmed_transforms volume_phantoms", str(__doc__), write_segmentation_sites, volumes=12, seed=0, size=64
    )
    count = json.loads((folder / MARKER).read_text())["volumes"] * len(SCANNERS)
    print(f"{folder}: {count} volumes of {len(SCANNERS)} sites")
