"""Transforms: files to tensors on a device, and results back to files. Knows nothing of networks or rounds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedmed_transforms.clip import ClipPreprocess, ClipPreprocessd
    from fedmed_transforms.dicom import DicomReader
    from fedmed_transforms.intensity import ScaleToUnit, ScaleToUnitd
    from fedmed_transforms.labels import ChannelsToLabels, ChannelsToLabelsd, LabelsToChannels, LabelsToChannelsd
    from fedmed_transforms.load import LoadMedicalImaged, load_image
    from fedmed_transforms.matched_label import MatchedLabeld
    from fedmed_transforms.nifti import NiftiReader
    from fedmed_transforms.picture_files import PictureReader
    from fedmed_transforms.pictures import ToPictures, ToPicturesd
    from fedmed_transforms.prefetch import Prefetched
    from fedmed_transforms.sam import (
        SamLabels,
        SamLabelsd,
        SamPostprocess,
        SamPostprocessd,
        SamPreprocess,
        SamPreprocessd,
    )
    from fedmed_transforms.save_segmentation import SaveSegmentationd
    from fedmed_transforms.segmentation_label import SegmentationToLabelsd
    from fedmed_transforms.segmentation_object import Segment, read_segmentation, write_segmentation
    from fedmed_transforms.series_rules import SeriesRules
    from fedmed_transforms.slices import SlicesToVolume, SlicesToVolumed, VolumeToSlices, VolumeToSlicesd
    from fedmed_transforms.structured_report import read_report, write_report
    from fedmed_transforms.uptake import ToUptake, ToUptaked
    from fedmed_transforms.window import Window, Windowd

__all__ = [
    "ChannelsToLabels",
    "ChannelsToLabelsd",
    "ClipPreprocess",
    "ClipPreprocessd",
    "DicomReader",
    "LabelsToChannels",
    "LabelsToChannelsd",
    "LoadMedicalImaged",
    "MatchedLabeld",
    "NiftiReader",
    "PictureReader",
    "Prefetched",
    "SamLabels",
    "SamLabelsd",
    "SamPostprocess",
    "SamPostprocessd",
    "SamPreprocess",
    "SamPreprocessd",
    "SaveSegmentationd",
    "ScaleToUnit",
    "ScaleToUnitd",
    "Segment",
    "SegmentationToLabelsd",
    "SeriesRules",
    "SlicesToVolume",
    "SlicesToVolumed",
    "ToPictures",
    "ToPicturesd",
    "ToUptake",
    "ToUptaked",
    "VolumeToSlices",
    "VolumeToSlicesd",
    "Window",
    "Windowd",
    "load_image",
    "read_report",
    "read_segmentation",
    "write_report",
    "write_segmentation",
]

_MODULES = {
    "ChannelsToLabels": "fedmed_transforms.labels",
    "ChannelsToLabelsd": "fedmed_transforms.labels",
    "ClipPreprocess": "fedmed_transforms.clip",
    "ClipPreprocessd": "fedmed_transforms.clip",
    "DicomReader": "fedmed_transforms.dicom",
    "LabelsToChannels": "fedmed_transforms.labels",
    "LabelsToChannelsd": "fedmed_transforms.labels",
    "LoadMedicalImaged": "fedmed_transforms.load",
    "MatchedLabeld": "fedmed_transforms.matched_label",
    "NiftiReader": "fedmed_transforms.nifti",
    "PictureReader": "fedmed_transforms.picture_files",
    "Prefetched": "fedmed_transforms.prefetch",
    "SamLabels": "fedmed_transforms.sam",
    "SamLabelsd": "fedmed_transforms.sam",
    "SamPostprocess": "fedmed_transforms.sam",
    "SamPostprocessd": "fedmed_transforms.sam",
    "SamPreprocess": "fedmed_transforms.sam",
    "SamPreprocessd": "fedmed_transforms.sam",
    "SaveSegmentationd": "fedmed_transforms.save_segmentation",
    "ScaleToUnit": "fedmed_transforms.intensity",
    "ScaleToUnitd": "fedmed_transforms.intensity",
    "Segment": "fedmed_transforms.segmentation_object",
    "SegmentationToLabelsd": "fedmed_transforms.segmentation_label",
    "SeriesRules": "fedmed_transforms.series_rules",
    "SlicesToVolume": "fedmed_transforms.slices",
    "SlicesToVolumed": "fedmed_transforms.slices",
    "ToPictures": "fedmed_transforms.pictures",
    "ToPicturesd": "fedmed_transforms.pictures",
    "ToUptake": "fedmed_transforms.uptake",
    "ToUptaked": "fedmed_transforms.uptake",
    "VolumeToSlices": "fedmed_transforms.slices",
    "VolumeToSlicesd": "fedmed_transforms.slices",
    "Window": "fedmed_transforms.window",
    "Windowd": "fedmed_transforms.window",
    "load_image": "fedmed_transforms.load",
    "read_report": "fedmed_transforms.structured_report",
    "read_segmentation": "fedmed_transforms.segmentation_object",
    "write_report": "fedmed_transforms.structured_report",
    "write_segmentation": "fedmed_transforms.segmentation_object",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
