"""The datasets of a site: encoded features, slices, whole images and targets, and their caches on disk."""
