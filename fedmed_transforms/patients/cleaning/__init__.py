"""Writes copies without identifiers: DICOM by the profile of PS3.15, Annex E; other formats without text."""
