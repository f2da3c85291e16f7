"""A federation on NVIDIA FLARE: messages, server, sites, encryption, statistics, jobs, and their runs."""
