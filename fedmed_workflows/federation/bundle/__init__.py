"""Bundles: the configuration that is trained, and the trained bundle that a run leaves."""
