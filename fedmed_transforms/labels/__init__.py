"""Converts label maps and masks, and checks that they lie on the grid of their image."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
