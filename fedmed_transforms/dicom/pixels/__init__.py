"""Pixel data of DICOM files: frames are decoded and become the values that they stand for."""
