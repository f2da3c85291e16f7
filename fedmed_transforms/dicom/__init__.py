"""Reads DICOM files as they are stored: elements, series, planes, pixels and geometry."""
