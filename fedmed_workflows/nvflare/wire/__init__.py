"""Messages, files and filters between server and sites on NVIDIA FLARE."""
