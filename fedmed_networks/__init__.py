"""Networks: the foundations CLIP and SAM, and the networks of the methods; they know nothing of rounds."""

from fedmed_faces import attach_face

MOVED = (
    "adapter", "class_names", "facmic", "feature_attention", "fedclip", "fedmsa", "fedsam", "fine_tuned_clip",
    "linear_head", "lora_clip", "lora_sam", "zero_shot_clip",
)  # fmt: skip
"""Modules by whose paths configurations named classes before only this face did."""

# Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network.
__getattr__, __dir__, __all__ = attach_face(__name__, __file__, MOVED)
