"""Unfolds pictures that hold all slices of a volume in a grid: Siemens mosaics and United Imaging's VFRAME images."""
