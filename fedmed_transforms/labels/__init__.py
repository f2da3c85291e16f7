"""Converts label maps and masks, and checks that they lie on the grid of their image."""
