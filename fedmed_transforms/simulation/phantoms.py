"""Writes demo data for classification in seconds: DICOM phantoms of three hospitals and an unseen hospital.

The classes are four shapes. The hospitals differ like real hospitals: in contrast, noise, shading by the coil,
resolution and the share of each class. Run ``python -m fedmed_transforms phantoms FOLDER``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedmed_transforms.simulation.phantom_folder import write_by_command, write_phantoms
from fedmed_transforms.simulation.phantom_series import write_series
from fedmed_transforms.simulation.scanners import SCANNERS, Image, Scanner, pixel_grid, scan, soft_mask

VERSION = 2
"""Version of the images; a change that gives other images for the same parameters must raise it."""

IMAGES_A_PATIENT = 2


def _cross(x: Image, y: Image, size: float, rng: np.random.Generator) -> Image:
    width = size * rng.uniform(0.2, 0.28)
    upright = soft_mask(np.abs(x), width) * soft_mask(np.abs(y), size)
    return np.maximum(upright, soft_mask(np.abs(y), width) * soft_mask(np.abs(x), size))


def _nodules(x: Image, y: Image, size: float, rng: np.random.Generator) -> Image:
    image = np.zeros_like(x)
    for angle in rng.uniform(0, 0.5) + np.linspace(0, 2 * np.pi, 5, endpoint=False):
        distance = np.hypot(x - 0.7 * size * np.cos(angle), y - 0.7 * size * np.sin(angle))
        image = np.maximum(image, soft_mask(distance, size * rng.uniform(0.2, 0.28)))
    return image


def _ring(x: Image, y: Image, size: float, rng: np.random.Generator) -> Image:
    radius = np.hypot(x, y)
    return soft_mask(radius, size) - soft_mask(radius, size * rng.uniform(0.6, 0.7))


def _stripes(x: Image, y: Image, size: float, rng: np.random.Generator) -> Image:
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * x / (size * rng.uniform(0.3, 0.4)))
    return np.asarray(wave * soft_mask(np.hypot(x, y), size))


Drawing = Callable[[Image, Image, float, np.random.Generator], Image]

SHAPES: dict[str, Drawing] = {"cross": _cross, "nodules": _nodules, "ring": _ring, "stripes": _stripes}
"""Functions that draw a class in [0, 1] at coordinates x, y with a half-width of `size`, by the name of the class."""


def draw(shape: str, scanner: Scanner, size: int, outline: Image, rng: np.random.Generator) -> Image:
    """Draws a phantom in [0, 1], (rows, columns): the scanner's image of a body with the shape in it.

    Parameters
    ----------
    shape
        One of :data:`SHAPES`.
    scanner
        The scanner with its contrast, noise, shading and matrix.
    size
        Pixels of a side for a scanner whose relative matrix is 1.
    outline
        Half the body's width and height, (2,), relative to half the field of view.
    rng
        Random generator of the shape's position, size, rotation and proportions, and of the noise.
    """
    x, y = pixel_grid(round(size * scanner.matrix))
    turn, right, down = rng.uniform(-1, 1, 3) * (0.4, 0.15, 0.15)
    along = np.cos(turn) * (x - right) + np.sin(turn) * (y - down)
    across = np.cos(turn) * (y - down) - np.sin(turn) * (x - right)
    body = soft_mask(np.hypot(x / outline[0], y / outline[1]), 1.0)
    return scan(body * (0.3 + 0.7 * SHAPES[shape](along, across, rng.uniform(0.55, 0.7), rng)), scanner, rng)


def write_sites(folder: str | Path, images_per_class: int = 48, seed: int = 0, size: int = 64) -> Path:
    """Writes ``folder/{harbour,hillside,riverbend,unseen}/{cross,nodules,ring,stripes}/*.dcm``, all or nothing.

    The same parameters give the same bytes; a folder that already holds the phantoms stays unchanged.

    Parameters
    ----------
    folder
        The folder to write: missing, empty, or written by this function with the same parameters.
    images_per_class
        Images of a class at a site, before the site's own mix. Every two images show one patient.
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
    parameters = {"version": VERSION, "images_per_class": images_per_class, "seed": seed, "size": size}
    if images_per_class < 1 or seed < 0 or size < 16:
        found = json.dumps(parameters)
        raise ValueError(f"phantoms: expected images_per_class >= 1, seed >= 0 and size >= 16, found {found}")
    return write_phantoms(folder, parameters, lambda whole: _write_all(whole, images_per_class, seed, size))


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
                write_series(target, next(patients), drawn, scanner, str(seed))


def main() -> None:
    """Runs the command line."""
    folder = write_by_command(
        "fedmed_transforms phantoms", str(__doc__), write_sites, images_per_class=48, seed=0, size=64
    )
    print(f"{folder}: {len(list(folder.glob('*/*/*.dcm')))} images of {len(SCANNERS)} sites")
