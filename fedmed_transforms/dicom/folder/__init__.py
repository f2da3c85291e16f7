"""Finds what a folder of DICOM files holds besides the images of a series: copies, captures, reports, localisers."""
