"""The exchange between sites and server: trainable and exchanged tensors, their manifest, and updates."""
