"""Simulation: phantoms of several hospitals, their scanners, and shifts of single sites."""
