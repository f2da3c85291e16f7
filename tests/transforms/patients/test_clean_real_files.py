"""Cleaned copies of real files load as their sources do, and the validator finds no new error in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmed_transforms import clean_folder, load_image
from fedmed_transforms.patients.identifiers import find_identifiers
from tests.dicom_validator import errors_without_values

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder"),
]


def test_real_files(tmp_path: Path) -> None:
    """Each input of the cases loads from the cleaned copy as from its source; one mosaic is left out."""
    source, target = Path(os.environ["FEDMED_DATA"]) / "cases", tmp_path / "cleaned"
    left_out = clean_folder(source, target)
    assert find_identifiers(target) == [] and any("mosaic" in it.reason for it in left_out)
    loaded = 0
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        copy, ours = target / path.relative_to(source), image_of(path)
        if copy.exists() and ours is not None:
            theirs, loaded = load_image(copy), loaded + 1
            assert np.array_equal(ours.numpy(), theirs.numpy(), equal_nan=True)
            assert torch.equal(ours.affine, theirs.affine)
            if path.suffix == ".dcm":
                assert errors_without_values(copy) <= errors_without_values(path)
    assert loaded > 50


def image_of(path: Path) -> Any:
    try:
        return load_image(path)
    except ValueError:
        return None


@pytest.mark.parametrize(
    "name", ["ct/head_regular_jpegls", "ct/head_tilted_uneven", "nuclei/histology", "hippocampus/below_2000"]
)
def test_real_folders(tmp_path: Path, name: str) -> None:
    source, target = Path(os.environ["FEDMED_DATA"]) / name, tmp_path / "cleaned"
    assert clean_folder(source, target) == [] and find_identifiers(target) == []
    rules: dict[str, Any] = {"uneven": "resample", "tilt": "shear"} if "tilted" in name else {}
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    for path in [source] if name.startswith("ct") else files[:20]:
        ours, theirs = load_image(path, **rules), load_image(target / path.relative_to(source), **rules)
        assert torch.equal(ours.as_tensor(), theirs.as_tensor()) and torch.equal(ours.affine, theirs.affine)
