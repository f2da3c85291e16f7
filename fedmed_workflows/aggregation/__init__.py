"""Aggregations: the server's rules that make one aggregate of the sites' updates, one rule a file."""

from fedmed_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
