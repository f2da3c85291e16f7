"""The statistics of the sites' images on NVIDIA FLARE, without small counts."""
