"""The jobs of NVIDIA FLARE. A job has configuration and values, but no code."""
