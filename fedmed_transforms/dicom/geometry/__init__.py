"""Computes the geometry of DICOM volumes: the grid of a series, stacks of slices, masks on the grid of their image."""
