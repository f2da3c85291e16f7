"""The server of a job on NVIDIA FLARE."""
