"""Finds the studies of folders and DICOMweb servers, and the series of each study to process."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
