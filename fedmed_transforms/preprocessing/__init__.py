"""The room prepares loaded images for a network, and takes its results back to the images."""
