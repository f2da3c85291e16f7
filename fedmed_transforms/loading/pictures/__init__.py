"""Reads the samples of pictures at their full depth."""
