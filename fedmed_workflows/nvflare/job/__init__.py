"""Jobs of NVIDIA FLARE: configuration and values, and no code."""
