"""Loads files as tensors on a device, transforms them, and saves results as files.

The package depends on no network and on no federation.
"""

from fedmed_faces import attach_face

MOVED = (
    "acquisition_shift", "clip", "dicomweb_studies", "identifiers", "intensity", "label_style", "load",
    "matched_label", "nifti", "picture_files", "pictures", "prefetch", "result_format", "sam",
    "save_segmentation", "segmentation_label", "segmentation_object", "series_rules", "site_shift", "slices",
    "structured_report", "uptake", "window",
)  # fmt: skip
"""Old modules: configurations named classes by their paths before the package exported its public names."""

# A name is imported at its first use: a server that aggregates loads no foundation model, a reader of files no network.
__getattr__, __dir__, __all__ = attach_face(__name__, __file__, MOVED)
