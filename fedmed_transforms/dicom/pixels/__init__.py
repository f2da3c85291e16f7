"""Reads the pixel data of DICOM files: decodes frames and converts stored values to the modality's values."""
