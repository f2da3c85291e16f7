"""A site's part of a job on NVIDIA FLARE."""
