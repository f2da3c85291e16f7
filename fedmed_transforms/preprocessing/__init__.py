"""Preprocessing between a loaded image and a network, and its inverse."""
