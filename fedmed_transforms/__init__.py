"""Transforms: files to tensors on a device, and results back to files. Knows nothing of networks or rounds."""

from fedmed_faces import attach_face

MOVED = (
    "acquisition_shift", "clip", "dicomweb_studies", "identifiers", "intensity", "label_style", "load",
    "matched_label", "nifti", "picture_files", "pictures", "prefetch", "result_format", "sam",
    "save_segmentation", "segmentation_label", "segmentation_object", "series_rules", "site_shift", "slices",
    "structured_report", "uptake", "window",
)  # fmt: skip
"""Modules by whose paths configurations named classes before only this face did."""

# Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network.
__getattr__, __dir__, __all__ = attach_face(__name__, __file__, MOVED)
