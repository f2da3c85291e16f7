"""A federation: its settings, its rounds, its run folder, and the engine that runs all sites in one process."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
