"""CLIP: the foundation, and the methods' networks on it."""
