"""The server's part of a job on NVIDIA FLARE."""
