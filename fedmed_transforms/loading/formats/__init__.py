"""Reads the values and the geometry that pictures, NRRD and MetaImage files state."""
