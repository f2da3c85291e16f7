"""Partitions: divide a folder of images into the sites of a federation, at random or by metadata."""
