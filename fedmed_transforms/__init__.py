"""Transforms: files to tensors on a device, and results back to files. Knows nothing of networks or rounds."""

from fedmed_transforms.clip import ClipPreprocess, ClipPreprocessd
from fedmed_transforms.dicom import DicomReader
from fedmed_transforms.intensity import ScaleToUnit, ScaleToUnitd
from fedmed_transforms.load import LoadMedicalImaged, load_image
from fedmed_transforms.nifti import NiftiReader
from fedmed_transforms.picture_files import PictureReader
from fedmed_transforms.pictures import ToPictures, ToPicturesd
from fedmed_transforms.series_rules import SeriesRules

__all__ = [
    "ClipPreprocess",
    "ClipPreprocessd",
    "DicomReader",
    "LoadMedicalImaged",
    "NiftiReader",
    "PictureReader",
    "SeriesRules",
    "load_image",
    "ScaleToUnit",
    "ScaleToUnitd",
    "ToPictures",
    "ToPicturesd",
]
