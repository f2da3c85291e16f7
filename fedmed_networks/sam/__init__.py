"""SAM: the foundation, its encoders and decoder, and the methods' networks on it."""
