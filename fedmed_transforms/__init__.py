"""Transforms: files to tensors on a device, and results back to files. Knows nothing of networks or rounds."""

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
from fedmed_transforms.sam import SamLabels, SamLabelsd, SamPostprocess, SamPostprocessd, SamPreprocess, SamPreprocessd
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
