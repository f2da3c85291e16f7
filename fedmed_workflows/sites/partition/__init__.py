"""Partitions: a folder of images becomes the sites of a federation, by chance or by what is known of the images."""
