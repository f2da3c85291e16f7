"""Prepares loaded images for a network, and converts the network's results back to the grid of the images."""
