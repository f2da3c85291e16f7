"""The runs on NVIDIA FLARE: in the simulator, and in a deployment through its administrator."""
