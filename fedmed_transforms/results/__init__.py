"""Writes results as files: masks and probabilities become DICOM SEG, DICOM SR, NIfTI and PNG."""
