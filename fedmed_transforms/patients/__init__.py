"""Keeps the images of a patient together in splits, and finds identifiers that files must not contain."""
