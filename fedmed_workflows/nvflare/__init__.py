"""A federation on NVIDIA FLARE: messages, server, sites, jobs, and the commands that run them."""
