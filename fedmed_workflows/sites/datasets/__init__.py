"""Datasets of a site: encoded features, slices, targets, and their caches."""
