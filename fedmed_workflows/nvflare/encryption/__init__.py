"""Encrypted rounds (CKKS) on NVIDIA FLARE."""
