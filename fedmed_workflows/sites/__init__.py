"""The sites of a federation: the images of each site, their split, and the datasets that read them."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
