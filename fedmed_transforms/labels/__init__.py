"""The room brings label maps and masks onto the grid of their image."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
