"""Steps before round 1: the release of target features, and the check of DICOM files for identifiers."""
