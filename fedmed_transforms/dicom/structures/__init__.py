"""Reads the structures of radiotherapy (RTSTRUCT) and draws their contours on the voxels of an image."""
