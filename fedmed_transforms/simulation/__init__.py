"""Simulates phantoms of several hospitals, their scanners, and the shifts of single sites."""
