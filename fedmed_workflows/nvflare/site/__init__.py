"""The site of a job on NVIDIA FLARE."""
