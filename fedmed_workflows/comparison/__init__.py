"""Comparison of methods: a run for each method, seed and unseen site, and one page of all results."""
