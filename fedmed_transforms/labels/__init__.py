"""Label maps: the labels of an image, on the image's grid."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
