"""Finds text, and everything else that is no picture, in files that are no DICOM, and writes the files without it."""
