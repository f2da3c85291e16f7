"""Transforms: files to tensors on a device, and results back to files. Knows nothing of networks or rounds."""

from fedmed_transforms.clip import ClipPreprocess, ClipPreprocessd
from fedmed_transforms.intensity import ScaleToUnit, ScaleToUnitd
from fedmed_transforms.load import LoadMedicalImaged
from fedmed_transforms.pictures import ToPictures, ToPicturesd

__all__ = [
    "ClipPreprocess",
    "ClipPreprocessd",
    "LoadMedicalImaged",
    "ScaleToUnit",
    "ScaleToUnitd",
    "ToPictures",
    "ToPicturesd",
]
