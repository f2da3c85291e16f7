"""The exchange: the tensors that train and travel, their manifest, and updates."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
