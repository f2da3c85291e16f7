"""Recognises DICOM files, mends decimal commas, and compares the headers of a series."""
