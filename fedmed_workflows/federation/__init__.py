"""A federation: its settings, its rounds, its folder, and the engine that has all sites in one process."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
