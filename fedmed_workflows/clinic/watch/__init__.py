"""The watch: studies are processed once each when they arrive in a folder or on a server."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
