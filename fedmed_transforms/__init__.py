"""Loads files as tensors on a device, transforms them, and saves results as files.

The package depends on no network and on no federation.
"""

from fedmed_faces import attach_face

MOVED = {
    "acquisition_shift": "AcquisitionShift",
    "clip": "ClipPreprocess ClipPreprocessd",
    "dicomweb_studies": "open_studies",
    "identifiers": "CheckIdentifiersd",
    "intensity": "ScaleToUnit ScaleToUnitd",
    "label_style": "LabelStyle",
    "load": "LoadMedicalImaged load_image",
    "matched_label": "MatchedLabeld",
    "nifti": "NiftiReader",
    "picture_files": "PictureReader",
    "pictures": "ToPictures ToPicturesd",
    "prefetch": "Prefetched",
    "result_format": "ResultFormatd",
    "sam": "SamLabels SamLabelsd SamPostprocess SamPostprocessd SamPreprocess SamPreprocessd",
    "save_segmentation": "SaveSegmentationd",
    "segmentation_label": "SegmentationToLabelsd",
    "segmentation_object": "Segment read_segmentation write_segmentation",
    "series_rules": "SeriesRules",
    "site_shift": "SiteShiftd",
    "slices": "SlicesToVolume SlicesToVolumed VolumeToSlices VolumeToSlicesd",
    "structured_report": "read_report write_report",
    "uptake": "ToUptake ToUptaked",
    "window": "Window Windowd",
}
"""Old modules by whose paths configurations named classes before this face, with their public names."""

# A name is imported at its first use: a server that aggregates loads no foundation model, a reader of files no network.
__getattr__, __dir__, __all__ = attach_face(__name__, __file__, MOVED)
