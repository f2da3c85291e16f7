"""Rounds with encrypted updates (CKKS) on NVIDIA FLARE."""
