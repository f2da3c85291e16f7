"""Demo data in seconds: phantoms of four shapes from the scanners of three hospitals and an unseen one, as DICOM files.

The shapes are the classes. The hospitals differ as real ones do: contrast, noise, shading by the coil, resolution and
how often they see each class. Run ``python -m fedmed_transforms.phantoms FOLDER``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

Image: TypeAlias = npt.NDArray[np.float64]

MARKER = ".phantoms"
"""Hidden file in the folder: the parameters that its phantoms were written with."""

VERSION = 2
"""To be raised whenever the same parameters come to give other images."""

BITS = 12
SLICE_THICKNESS = 5.0  # mm
IMAGES_A_PATIENT = 2


@dataclass(frozen=True)
class Scanner:
    """A hospital's scanner, and how often it meets each class."""

    manufacturer: str
    model: str
    matrix: float  # pixels a side, relative to the size asked for
    field: float  # field of view in mm
    gamma: float  # exponent of the contrast, 1 leaves it
    noise: float  # standard deviation, relative to the brightest tissue
    shading: float  # relative change of intensity by the coil, from one side of the field of view to the other
    mix: tuple[float, float, float, float]  # images of each of SHAPES, relative to the number asked for


SCANNERS = {
    "harbour": Scanner("Northlight", "Vista 1.5T", 1.0, 220, 1.0, 0.02, 0.10, (1.25, 1.0, 1.0, 0.75)),
    "hillside": Scanner("Northlight", "Vista 3T", 1.5, 230, 0.75, 0.04, 0.25, (0.75, 1.25, 1.0, 1.0)),
    "riverbend": Scanner("Meridian", "Orbit 1.5T", 1.25, 240, 1.3, 0.03, 0.20, (1.0, 0.75, 1.0, 1.25)),
    "unseen": Scanner("Meridian", "Orbit 3T", 1.75, 210, 0.85, 0.05, 0.30, (1.0, 1.0, 1.0, 1.0)),
}
"""The hospitals by the name of their folder; no federation trains on the labels of the last one."""


def _within(distance: Image, radius: float) -> Image:
    """One within a radius, zero beyond, with an edge of 0.04."""
    return np.clip((radius - distance) / 0.04 + 0.5, 0, 1)


def _cross(x: Image, y: Image, size: float, rng: np.random.Generator) -> Image:
    width = size * rng.uniform(0.2, 0.28)
    upright = _within(np.abs(x), width) * _within(np.abs(y), size)
    return np.maximum(upright, _within(np.abs(y), width) * _within(np.abs(x), size))


def _nodules(x: Image, y: Image, size: float, rng: np.random.Generator) -> Image:
    image = np.zeros_like(x)
    for angle in rng.uniform(0, 0.5) + np.linspace(0, 2 * np.pi, 5, endpoint=False):
        distance = np.hypot(x - 0.7 * size * np.cos(angle), y - 0.7 * size * np.sin(angle))
        image = np.maximum(image, _within(distance, size * rng.uniform(0.2, 0.28)))
    return image


def _ring(x: Image, y: Image, size: float, rng: np.random.Generator) -> Image:
    radius = np.hypot(x, y)
    return _within(radius, size) - _within(radius, size * rng.uniform(0.6, 0.7))


def _stripes(x: Image, y: Image, size: float, rng: np.random.Generator) -> Image:
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * x / (size * rng.uniform(0.3, 0.4)))
    return np.asarray(wave * _within(np.hypot(x, y), size))


Drawing = Callable[[Image, Image, float, np.random.Generator], Image]

SHAPES: dict[str, Drawing] = {"cross": _cross, "nodules": _nodules, "ring": _ring, "stripes": _stripes}
"""The classes: what draws each, in [0, 1], at coordinates x, y and with a half-width of `size`."""


def draw(shape: str, scanner: Scanner, size: int, outline: Image, rng: np.random.Generator) -> Image:
    """One phantom in [0, 1], (rows, columns): a body with the shape in it, as the scanner shows it.

    Parameters
    ----------
    shape
        One of :data:`SHAPES`.
    scanner
        Whose contrast, noise, shading and matrix to use.
    size
        Pixels a side of a scanner whose relative matrix is 1.
    outline
        Half the body's width and height, (2,), relative to half the field of view.
    rng
        Draws the shape's place, size, turn and proportions, and the noise.
    """
    side = round(size * scanner.matrix)
    y, x = np.meshgrid(*2 * [(np.arange(side) + 0.5) / side * 2 - 1], indexing="ij")
    turn, right, down = rng.uniform(-1, 1, 3) * (0.4, 0.15, 0.15)
    along = np.cos(turn) * (x - right) + np.sin(turn) * (y - down)
    across = np.cos(turn) * (y - down) - np.sin(turn) * (x - right)
    body = _within(np.hypot(x / outline[0], y / outline[1]), 1.0)
    return _scan(body * (0.3 + 0.7 * SHAPES[shape](along, across, rng.uniform(0.55, 0.7), rng)), x, y, scanner, rng)


def _scan(image: Image, x: Image, y: Image, scanner: Scanner, rng: np.random.Generator) -> Image:
    coil = rng.uniform(0, 2 * np.pi)
    shaded = image**scanner.gamma * (1 + scanner.shading / 2 * (np.cos(coil) * x + np.sin(coil) * y))
    real, imaginary = rng.normal(0, scanner.noise, (2, *image.shape))
    return np.clip(np.hypot(shaded + real, imaginary) / 1.3, 0, 1)  # the magnitude of a complex signal, as in MRI


def write_sites(folder: str | Path, images_per_class: int = 48, seed: int = 0, size: int = 64) -> Path:
    """Writes ``folder/{harbour,hillside,riverbend,unseen}/{cross,nodules,ring,stripes}/*.dcm``, all or nothing.

    The same parameters give the same bytes; a folder that holds them already is left as it is.

    Parameters
    ----------
    folder
        Where to write: missing, empty, or written by this function with the same parameters.
    images_per_class
        Images of a class at a site, before the site's own mix. Two of them show one patient.
    seed
        Of all random numbers and DICOM UIDs.
    size
        Pixels a side of the first scanner; the others have up to 1.75 times as many.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        The folder holds something else, or a parameter is out of range; the message names it.
    """
    folder = Path(folder)
    parameters = json.dumps({"version": VERSION, "images_per_class": images_per_class, "seed": seed, "size": size})
    if images_per_class < 1 or seed < 0 or size < 16:
        raise ValueError(f"phantoms: expected images_per_class >= 1, seed >= 0 and size >= 16, found {parameters}")
    if not _holds(folder, parameters):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
            whole = Path(unfinished) / folder.name
            _write_all(whole, images_per_class, seed, size)
            (whole / MARKER).write_text(parameters)
            whole.replace(folder)
    return folder


def _holds(folder: Path, parameters: str) -> bool:
    """Whether the folder holds these phantoms already; refuses one that holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    marker = folder / MARKER
    found = f"phantoms of {marker.read_text()}" if marker.is_file() else "something else"
    if found != f"phantoms of {parameters}":
        raise ValueError(f"{folder}: expected a new or an empty folder or phantoms of {parameters}, found {found}")
    return True


def _write_all(folder: Path, images_per_class: int, seed: int, size: int) -> None:
    for site_index, (site, scanner) in enumerate(SCANNERS.items()):
        patients = (f"{site}-{number:04d}" for number in itertools.count(1))
        for shape_index, (shape, share) in enumerate(zip(SHAPES, scanner.mix, strict=True)):
            target = folder / site / shape
            target.mkdir(parents=True)
            images = max(1, round(images_per_class * share))
            for first in range(0, images, IMAGES_A_PATIENT):
                rng = np.random.default_rng([seed, site_index, shape_index, first])
                outline, slices = rng.uniform(0.8, 0.95, 2), min(IMAGES_A_PATIENT, images - first)
                drawn = [draw(shape, scanner, size, outline, rng) for _ in range(slices)]
                _write_patient(target, next(patients), seed, drawn, scanner)


def _write_patient(folder: Path, patient: str, seed: int, images: list[Image], scanner: Scanner) -> None:
    """A patient's only series; nothing in it depends on when it was written."""
    for number, image in enumerate(images, start=1):
        dicom = _header(patient, number, seed)
        dicom.Manufacturer, dicom.ManufacturerModelName = scanner.manufacturer, scanner.model
        _add_image(dicom, image, scanner.field)
        dicom.save_as(folder / f"{patient}_{number}.dcm", enforce_file_format=True)


def _header(patient: str, number: int, seed: int) -> Dataset:
    dicom = Dataset()
    dicom.SOPClassUID, dicom.Modality, dicom.ImageType = MRImageStorage, "MR", ["ORIGINAL", "PRIMARY"]
    dicom.SOPInstanceUID = _uid(seed, patient, f"image {number}")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dicom, keyword, _uid(seed, patient, keyword))
    dicom.PatientID = dicom.PatientName = patient
    dicom.PatientIdentityRemoved, dicom.DeidentificationMethod = "YES", "no patient: a computed phantom"
    for keyword in ("PatientBirthDate", "PatientSex", "ReferringPhysicianName", "AccessionNumber", "ScanOptions"):
        setattr(dicom, keyword, "")  # must be there, may be empty
    dicom.StudyDate, dicom.StudyTime, dicom.StudyID = "20240115", "120000", "1"
    dicom.ScanningSequence, dicom.SequenceVariant, dicom.MRAcquisitionType = "SE", "NONE", "2D"
    dicom.RepetitionTime, dicom.EchoTime, dicom.EchoTrainLength = 500, 15, 1
    dicom.PatientPosition, dicom.PositionReferenceIndicator = "HFS", ""
    dicom.SeriesNumber, dicom.InstanceNumber = 1, number
    return dicom


def _add_image(dicom: Dataset, image: Image, field: float) -> None:
    """An axial slice around the isocentre; lengths in mm."""
    spacing, corner = field / len(image), (1 / len(image) - 1) * field / 2
    dicom.PixelSpacing, dicom.SliceThickness = [round(spacing, 6)] * 2, SLICE_THICKNESS
    dicom.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dicom.ImagePositionPatient = [round(corner, 6), round(corner, 6), SLICE_THICKNESS * (dicom.InstanceNumber - 1)]
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stored = np.round(image * (2**BITS - 1)).astype(np.uint16)
    dicom.set_pixel_data(stored, "MONOCHROME2", BITS, generate_instance_uid=False)
    dicom.RescaleSlope, dicom.RescaleIntercept, dicom.RescaleType = 1, 0, "US"


def _uid(seed: int, patient: str, part: str) -> str:
    return str(generate_uid(entropy_srcs=["fedmed phantom", str(seed), patient, part]))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fedmed_transforms.phantoms", description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, default in (("--images-per-class", 48), ("--seed", 0), ("--size", 64)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    try:
        folder = write_sites(**vars(options))
    except ValueError as error:
        parser.error(str(error))
    print(f"{folder}: {len(list(folder.glob('*/*/*.dcm')))} images of {len(SCANNERS)} sites")


if __name__ == "__main__":
    main()
