"""Reads headers, the geometry that they state, and voxels; knows files by their content."""
