"""The evaluation of networks: metrics of classification and segmentation, their intervals, and inferers."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
