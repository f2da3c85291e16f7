"""Reads DICOM files as they are stored: elements, series, planes, pixels and geometry."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
