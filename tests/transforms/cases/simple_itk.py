"""SimpleITK as the reference of values and affines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monai.data import MetaTensor

from fedmed_transforms import load_image

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
TURN = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0, 0.8, 0.6]])


def oblique(kind: str, components: int = 1) -> Any:
    """An oblique image of 6 x 5 x 4 voxels, as SimpleITK holds it."""
    random = np.random.default_rng(0)
    shape = (4, 5, 6) if components == 1 else (4, 5, 6, components)
    values = random.normal(scale=50, size=shape) if kind[0] != "u" else random.integers(0, 200, shape)
    image = sitk.GetImageFromArray(values.astype(kind), isVector=components > 1)
    image.SetSpacing((0.5, 0.7, 2))
    image.SetOrigin((10, -20, 30))
    image.SetDirection(TURN.ravel().tolist())
    return image


def check(path: Path, **rules: Any) -> MetaTensor:
    """Compares values and affine with those that SimpleITK reads; returns the loaded image."""
    loaded, image = load_image(path, **rules), sitk.ReadImage(str(path))
    values, dimension = sitk.GetArrayFromImage(image), image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = np.moveaxis(values, -1, 0)
    elif dimension < 4:
        values = values[None]
    expected = values.transpose(0, *range(values.ndim - 1, 0, -1)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(loaded), expected)
    axes, affine = min(3, dimension), np.eye(4)
    direction = np.reshape(image.GetDirection(), (dimension, dimension))[:axes, :axes]
    affine[:axes, :axes] = direction * image.GetSpacing()[:axes]
    affine[:axes, 3] = image.GetOrigin()[:axes]
    np.testing.assert_allclose(np.asarray(loaded.affine), np.diag([-1, -1, 1, 1]) @ affine, atol=1e-9)
    return loaded
