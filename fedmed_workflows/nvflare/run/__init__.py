"""Runs of NVIDIA FLARE: the simulator, and a real deployment through its administrator."""
