"""Loads files of every format as tensors with true values and a true affine."""
