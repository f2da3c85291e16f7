"""Bundles: the configuration of a training, and the trained bundle that a run writes."""
