"""The messages, files and filters between the server and the sites on NVIDIA FLARE."""
