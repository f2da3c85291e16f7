"""Small files laid out as the papers' federations are: sites, classes, label values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

VOLUMES = 3
"""Images of a segmentation's site."""

RECIPES: dict[str, tuple[list[str], dict[int, list[str]], int]] = {
    # sites in alphabetical order; label values with the channels they make; training slices of two volumes
    "prostate": (["BIDMC", "HK", "I2CVB", "ISBI", "ISBI_1.5", "UCL"], {1: ["prostate"], 2: ["prostate"]}, 12),
    "fets2022": (["1", "18", "21", "6"], {1: ["tumour_core"], 2: [], 4: ["tumour_core"]}, 8),
    "fundus": (["Drishti-GS1", "G1020", "ORIGA", "REFUGE"], {1: ["optic_disc"], 2: ["optic_cup"]}, 2),
    "nuclei": (
        ["MoNuSAC2018", "MoNuSAC2020", "PanNuke_adrenal_gland", "PanNuke_bile_duct", "PanNuke_oesophagus",
         "PanNuke_uterus", "TNBC"],
        {1: ["nucleus"], 700: ["nucleus"]}, 2,
    ),
    "ct_lung": (["1", "2", "3", "4", "5"], {255: ["lung"]}, 12),
}  # fmt: skip


def write_volumes(site: Path, values: list[int]) -> None:
    """Volumes of six slices of 4 mm; the label, all its values side by side, in the slices 2 and 3."""
    affine, random = np.diag([1.0, 1.0, 4.0, 1.0]), np.random.default_rng(0)
    for number in range(VOLUMES):
        image = random.normal(100, 20, (32, 32, 6)).astype(np.float32)
        label = np.zeros(image.shape, np.int16)
        for place, value in enumerate(values):
            label[8 + 4 * place : 12 + 4 * place, 8:24, 2:4] = value
        for folder, array in (("images", image + 50 * label), ("labels", label)):
            (site / folder).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, affine), site / folder / f"Case{number:02}.nii.gz")


def write_pictures(site: Path, values: list[int]) -> None:
    """Coloured pictures and grey labels of 16 bits."""
    random = np.random.default_rng(0)
    for number in range(VOLUMES):
        label = np.zeros((40, 48), np.uint16)
        for place, value in enumerate(values):
            label[8 + 8 * place : 16 + 8 * place, 8:32] = value
        colours = random.integers(0, 90, (40, 48, 3)) + 100 * (label > 0)[..., None]
        for folder in ("images", "labels"):
            (site / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours.astype(np.uint8)).save(site / "images" / f"{number}.png")
        Image.fromarray(label).save(site / "labels" / f"{number}.png")


WRITERS: dict[str, Callable[[Path, list[int]], None]] = {
    name: write_pictures if name in ("fundus", "nuclei") else write_volumes for name in RECIPES
}


def write_recipe(folder: Path, name: str) -> None:
    """All sites of a recipe."""
    sites, values, _ = RECIPES[name]
    for site in sites:
        WRITERS[name](folder / site, list(values))


def write_classes(folder: Path, class_names: list[str], images: int) -> None:
    """Class folders with so many pictures each; a class is a brightness."""
    random = np.random.default_rng(0)
    for place, name in enumerate(class_names):
        (folder / name).mkdir(parents=True)
        for number in range(images):
            picture = random.integers(0, 40, (16, 16, 3)) + 200 * place // len(class_names)
            Image.fromarray(picture.astype(np.uint8)).save(folder / name / f"{place} ({number}).jpg")
