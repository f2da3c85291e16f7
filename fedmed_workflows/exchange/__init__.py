"""The exchange between sites and server: trainable and exchanged tensors, their manifest, and updates."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
