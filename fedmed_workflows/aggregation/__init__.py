"""Aggregation of the sites' updates: a pure function of {site: update} each, one a file."""

from fedmed_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
